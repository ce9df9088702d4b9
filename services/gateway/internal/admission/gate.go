package admission

import (
	"fmt"
	"strconv"
	"strings"
)

// Verdict is what is to be done with an update.
type Verdict int

// Verdicts. The zero value is the harmless one.
const (
	Skip   Verdict = iota // not for us, or not understood
	Drop                  // its chat may not use the bot
	Accept                // handle it
)

// Action is what an accepted update asks for.
type Action string

// Actions.
const (
	Prompt  Action = "prompt"
	New     Action = "new"
	Cancel  Action = "cancel"
	Status  Action = "status"
	Help    Action = "help"
	Resolve Action = "resolve"
)

// Decision is the judgement of an update.
type Decision struct {
	Verdict Verdict
	Action  Action
	// Text is the prompt, what follows a command, or for Resolve the choice:
	// resume, again or drop.
	Text string
	// TurnID is the turn a button decides about; empty: the newest that waits.
	TurnID string
	// Reason says why an update is skipped or dropped.
	Reason string
}

// commands are the words after "/" that are not prompts. A person's first
// message to any bot is /start.
var commands = map[string]Decision{
	"new":    {Verdict: Accept, Action: New},
	"cancel": {Verdict: Accept, Action: Cancel},
	"status": {Verdict: Accept, Action: Status},
	"help":   {Verdict: Accept, Action: Help},
	"start":  {Verdict: Accept, Action: Help},
	"resume": {Verdict: Accept, Action: Resolve, Text: "resume"},
	"again":  {Verdict: Accept, Action: Resolve, Text: "again"},
	"drop":   {Verdict: Accept, Action: Resolve, Text: "drop"},
}

// Policy says who may use the bot.
type Policy struct {
	// Allowed are chat ids. One that is no integer matches no chat.
	Allowed []string
	// Open lets every chat in while Allowed is empty, as the echo mode does.
	Open bool
	// Username is the bot's own, without "@": commands for others are not ours.
	Username string
}

// Gate judges updates. Its zero value lets nobody in.
type Gate struct {
	allowed  map[int64]bool
	open     bool
	username string
}

// NewGate returns a gate for a policy.
func NewGate(p Policy) Gate {
	g := Gate{allowed: map[int64]bool{}, open: p.Open && len(p.Allowed) == 0, username: p.Username}
	for _, text := range p.Allowed {
		// As integers: 007 and +7 are 7.
		if id, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
			g.allowed[id] = true
		}
	}
	return g
}

// Allows says whether a chat may use the bot.
func (g Gate) Allows(chatID int64) bool { return g.open || g.allowed[chatID] }

// Judge decides about an update. What cannot be handled is skipped whoever sent
// it; then the chat must be allowed, or the group that it was before.
func (g Gate) Judge(u Update) Decision {
	switch {
	case u.Kind != Message && u.Kind != Callback, u.unfit != "":
		return skip(u.unfit, reasonUnsupported)
	case !g.Allows(u.ChatID) && (u.Origin == 0 || !g.Allows(u.Origin)):
		return Decision{Verdict: Drop, Reason: fmt.Sprintf("chat_id not allowlisted (%d)", u.ChatID)}
	case u.Kind == Callback:
		return judgeButton(u.CallbackData)
	}
	return g.judgeText(u)
}

func skip(reason, otherwise string) Decision {
	if reason == "" {
		reason = otherwise
	}
	return Decision{Verdict: Skip, Reason: reason}
}

func (g Gate) judgeText(u Update) Decision {
	prompt := Decision{Verdict: Accept, Action: Prompt, Text: u.Text}
	if u.CommandBot != "" && !strings.EqualFold(u.CommandBot, g.username) {
		if u.Private() {
			return prompt // nobody else is there to answer it
		}
		return skip(reasonOtherBot, "")
	}
	d, ok := commands[u.Command]
	if !ok {
		return prompt // Codex may know what it means
	}
	if d.Text == "" {
		d.Text = u.Args
	}
	return d
}

// CallbackData is what a button carries that decides about a turn; at most 64
// bytes, the Bot API's bound, for choices and turn ids of the gateway.
func CallbackData(choice, turnID string) string { return choice + ":" + turnID }

func judgeButton(data string) Decision {
	choice, turnID, _ := strings.Cut(data, ":")
	d, ok := commands[choice]
	if !ok || d.Action != Resolve || turnID == "" {
		return skip(reasonButton, "")
	}
	d.TurnID = turnID
	return d
}

// maxCommand is the length of a bot command, by the Bot API.
const maxCommand = 32

// splitCommand reads "/name@bot args". The name is empty where a text does not
// begin with a command.
func splitCommand(text string) (name, bot, args string) {
	rest, ok := strings.CutPrefix(text, "/")
	if !ok {
		return "", "", ""
	}
	word := rest
	if i := strings.IndexAny(rest, " \t\r\n"); i >= 0 {
		word, args = rest[:i], strings.TrimSpace(rest[i:])
	}
	name, bot, addressed := strings.Cut(word, "@")
	if !isName(name) || len(name) > maxCommand || addressed && !isName(bot) {
		return "", "", ""
	}
	return strings.ToLower(name), bot, args
}

func isName(s string) bool {
	other := func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_')
	}
	return s != "" && !strings.ContainsFunc(s, other)
}
