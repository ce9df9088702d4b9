// Package command describes the programs' commands: what they are for, their
// flags and variables, what they leave behind and how they end, in one table for
// each. Arguments are read, manual pages printed and shell completions made from
// that table alone, so that none of them can say something else than the others.
package command

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Flag is one thing that a command can be told.
type Flag struct {
	Name     string   // such as --ack-policy; empty: by the variable alone
	Variable string   // such as CHANNEL_ACK_POLICY; empty: by the flag alone
	Value    string   // what the page calls its value, with its unit: SECONDS; empty: it takes none
	Default  string   // empty: none
	Words    []string // what the value can be, where that can be listed
	Help     string   // what it does, without a period
}

// Kinds of values that a shell can complete by itself.
const (
	Path = "PATH" // a file
	Dir  = "DIR"
	Bool = "BOOL" // as a separate word
)

// Entry is a line of a section: a status, a file or an example, and what it means.
type Entry struct{ Name, Text string }

// Argument is the one word a command can have beside its flags. It must be given
// where Words are listed.
type Argument struct {
	Name  string // such as SHELL
	Words []string
}

// Command is a program, or one of the commands of a program.
type Command struct {
	Name        string // as it is typed: "telecodex doctor"
	Summary     string // in a few words
	Synopsis    []string
	Description string // paragraphs, with an empty line between two
	Commands    []Command
	Otherwise   string // the word of the command that is meant when none is given
	Argument    Argument
	Flags       []Flag
	Variables   []Flag // what else the environment says
	Statuses    []Entry
	Files       []Entry
	Examples    []Entry
}

// general are the flags of every command.
func general() []Flag {
	return []Flag{{Name: "--help", Help: "show this page"}, {Name: "--version", Help: "show the version"}}
}

// Word is the command's own: "doctor" of "telecodex doctor".
func (c Command) Word() string { return c.Name[strings.LastIndexByte(c.Name, ' ')+1:] }

// Find returns the command of a program with the given word.
func (c Command) Find(word string) (Command, bool) {
	for _, sub := range c.Commands {
		if sub.Word() == word {
			return sub, true
		}
	}
	return Command{}, false
}

// Asked is what is to be printed when the arguments asked for nothing but that:
// err is ErrHelp or ErrVersion. Else it is empty.
func (c Command) Asked(err error) string {
	switch {
	case errors.Is(err, ErrHelp):
		return c.Page()
	case errors.Is(err, ErrVersion):
		return Version(strings.Fields(c.Name)[0]) + "\n"
	}
	return ""
}

// stamp is the version that the linker writes (-X telecodex.dev/services/internal/command.stamp=…).
var stamp string

// Version is what --version prints: the version that was stamped, else what the
// Go toolchain noted, with the toolchain and the system.
func Version(program string) string {
	version := stamp
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		version = info.Main.Version
	}
	if version == "" {
		version = "(devel)"
	}
	return fmt.Sprintf("%s %s (%s %s/%s)", program, version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
