package chaos

import (
	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/telegramsim"
)

// Place is a message within its chat.
type Place struct{ Chat, Message int64 }

// Said is a message that a person wrote.
type Said struct {
	Place
	Number int // within its chat, from 1
	// Prompt is what Codex is to get; empty for a command, which only has to be
	// answered.
	Prompt string
}

// Choices about an interrupted turn.
const (
	Again  = "again"
	Resume = "resume"
	Drop   = "drop"
)

// Decision is what a person decided about an interrupted turn: the first
// decision about it, which is the one that holds.
type Decision struct {
	// Place is the interrupted message. A decision by command names none: it may
	// be about any interrupted message of its chat.
	Place
	Choice string
}

// Evidence is what a run leaves behind.
type Evidence struct {
	Said    []Said
	Decided []Decision
	Heard   []telegramsim.Message // in the order of their arrival
	Ran     []codexsim.LogEntry   // in the order of the log
	// InDoubt counts the sends that the gateway says were in doubt, by the
	// message they answer.
	InDoubt map[Place]int
	Orphans []string // processes of a turn that outlived it
}
