package chaos

import (
	"fmt"
	"strings"

	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/telegramsim"
)

// How the messages of the gateway begin.
const (
	answerBegins   = "You said: "
	questionBegins = "This task was interrupted"
	failureBegins  = "Sorry, "
)

// notice says that a message only tells how things stand.
func notice(text string) bool {
	return strings.HasPrefix(text, "The worker cannot be reached right now.") ||
		strings.HasPrefix(text, "Codex could not go on with this conversation")
}

// maxFindings bounds what a verdict says in words.
const maxFindings = 40

// Verdict is what became of everything that people wrote.
type Verdict struct {
	Messages    int // that people wrote
	Answered    int
	Interrupted int // of which a person was asked to decide
	Dropped     int // by decision
	Runs        int // starts of Codex
	InDoubt     int // sends that the gateway says were in doubt

	Lost       int // neither answered nor dropped
	RunTwice   int // starts that nobody asked for
	OutOfOrder int // answers before those of earlier messages, runs before or during earlier ones
	Duplicates int // further answers to the same message
	Unexcused  int // of those, the ones that no send in doubt explains
	Wrong      int // answers that are not the answer to their message, or say that something failed
	Orphans    int

	Findings []string
}

// OK says whether every promise was kept.
func (v Verdict) OK() bool {
	return v.Lost+v.RunTwice+v.OutOfOrder+v.Unexcused+v.Wrong+v.Orphans == 0
}

func (v *Verdict) found(counter *int, format string, args ...any) {
	*counter++
	if len(v.Findings) < maxFindings {
		v.Findings = append(v.Findings, fmt.Sprintf(format, args...))
	}
}

// Judge says what became of everything. It is a pure function.
func Judge(e Evidence) Verdict {
	j := &judge{Evidence: e, verdict: Verdict{Messages: len(e.Said), Orphans: len(e.Orphans), Findings: e.Orphans},
		answers: map[Place][]telegramsim.Message{}, asked: map[Place]bool{}, failed: map[Place]int{},
		starts: map[string][]int{}, spare: map[int64]map[string]int{}, chosen: map[Place]map[string]int{}}
	j.hear()
	j.decide()
	j.read()
	for _, s := range e.Said {
		j.message(s)
		j.runs(s)
	}
	j.resumed()
	j.order()
	return j.verdict
}

// judge holds the evidence by message.
type judge struct {
	Evidence
	verdict Verdict

	answers map[Place][]telegramsim.Message
	asked   map[Place]bool
	failed  map[Place]int
	starts  map[string][]int // where in the log, by the prompt's digest
	chosen  map[Place]map[string]int
	spare   map[int64]map[string]int // decisions by command, by chat
	other   []codexsim.LogEntry      // starts with a prompt that no person wrote
}

// hear sorts what arrived.
func (j *judge) hear() {
	for _, m := range j.Heard {
		at := Place{m.ChatID, m.ReplyTo}
		switch {
		case notice(m.Text):
		case strings.HasPrefix(m.Text, questionBegins):
			j.asked[at] = true
		case strings.HasPrefix(m.Text, failureBegins):
			j.failed[at]++
		default:
			j.answers[at] = append(j.answers[at], m)
		}
	}
}

func (j *judge) decide() {
	for _, d := range j.Decided {
		if d.Message == 0 {
			if j.spare[d.Chat] == nil {
				j.spare[d.Chat] = map[string]int{}
			}
			j.spare[d.Chat][d.Choice]++
			continue
		}
		if j.chosen[d.Place] == nil {
			j.chosen[d.Place] = map[string]int{}
		}
		j.chosen[d.Place][d.Choice]++
	}
}

// take uses a decision about a message up: its own, or one by command.
func (j *judge) take(at Place, choice string) bool {
	for _, left := range []map[string]int{j.chosen[at], j.spare[at.Chat]} {
		if left[choice] > 0 && j.asked[at] {
			left[choice]--
			return true
		}
	}
	return false
}

// read sorts Codex's log.
func (j *judge) read() {
	known := map[string]bool{}
	for _, s := range j.Said {
		known[codexsim.PromptDigest(s.Prompt)] = true
	}
	for i, r := range j.Ran {
		if r.Event != "start" {
			continue
		}
		j.verdict.Runs++
		if !known[r.PromptSHA256] {
			j.other = append(j.other, r)
			continue
		}
		j.starts[r.PromptSHA256] = append(j.starts[r.PromptSHA256], i)
	}
}

// message judges what a person heard.
func (j *judge) message(s Said) {
	v := &j.verdict
	name := fmt.Sprintf("chat %d, message %d", s.Chat, s.Number)
	answers := j.finals(s)
	if j.asked[s.Place] {
		v.Interrupted++
	}
	for range j.failed[s.Place] {
		v.found(&v.Wrong, "%s: it failed", name)
	}
	switch {
	case len(answers) > 0:
		v.Answered++
	case j.take(s.Place, Drop):
		v.Dropped++
	case j.failed[s.Place] == 0:
		v.found(&v.Lost, "%s: lost (Codex started %d times, asked: %t)", name, len(j.starts[codexsim.PromptDigest(s.Prompt)]), j.asked[s.Place])
	}
	doubt := j.InDoubt[s.Place]
	v.InDoubt += doubt
	for i := range answers {
		if i == 0 {
			continue
		}
		v.Duplicates++
		if i > doubt {
			v.found(&v.Unexcused, "%s: answered %d times, %d sends in doubt", name, len(answers), doubt)
		}
	}
	for _, a := range answers {
		if s.Prompt != "" && a.Text != answerBegins+s.Prompt && !j.wasResumed(s.Place) {
			v.found(&v.Wrong, "%s: answered %.60q", name, a.Text)
		}
	}
}

// finals are the answers to a message; to a command, whatever replies to it.
func (j *judge) finals(s Said) (finals []telegramsim.Message) {
	for _, a := range j.answers[s.Place] {
		if s.Prompt == "" || strings.HasPrefix(a.Text, answerBegins) {
			finals = append(finals, a)
		}
	}
	return finals
}

func (j *judge) wasResumed(at Place) bool {
	return j.asked[at] && (j.chosen[at][Resume] > 0 || j.spare[at.Chat][Resume] > 0)
}

// runs judges how often a prompt was run.
func (j *judge) runs(s Said) {
	if s.Prompt == "" {
		return
	}
	starts := len(j.starts[codexsim.PromptDigest(s.Prompt)])
	for n := 2; n <= starts; n++ {
		if !j.take(s.Place, Again) {
			j.verdict.found(&j.verdict.RunTwice, "chat %d, message %d: run %d times", s.Chat, s.Number, starts)
		}
	}
	if starts == 0 && len(j.finals(s)) > 0 && !j.wasResumed(s.Place) {
		j.verdict.found(&j.verdict.Wrong, "chat %d, message %d: answered, and never run", s.Chat, s.Number)
	}
}

// resumed judges the runs with prompts of the gateway's own: it makes one where a
// person decides that a turn is to go on.
func (j *judge) resumed() {
	allowed := 0
	for _, d := range j.Decided {
		if d.Choice == Resume {
			allowed++
		}
	}
	for i, r := range j.other {
		if i >= allowed {
			j.verdict.found(&j.verdict.RunTwice, "a prompt that nobody wrote was run in %s", r.Dir)
		}
	}
}

// order judges in what order the messages of each chat were run and answered.
// One that was interrupted has lost its place.
func (j *judge) order() {
	type last struct{ answer, start, end int }
	chats := map[int64]*last{}
	ends := map[string]int{}
	for i, r := range j.Ran {
		if r.Event == "end" {
			ends[r.Run] = i
		}
	}
	v := &j.verdict
	for _, s := range j.Said {
		if j.asked[s.Place] || s.Prompt == "" {
			continue
		}
		before := chats[s.Chat]
		if before == nil {
			before = &last{-1, -1, -1}
			chats[s.Chat] = before
		}
		if answers := j.finals(s); len(answers) > 0 {
			if answers[0].Seq < before.answer {
				v.found(&v.OutOfOrder, "chat %d, message %d: answered before an earlier one", s.Chat, s.Number)
			}
			before.answer = max(before.answer, answers[0].Seq)
		}
		if starts := j.starts[codexsim.PromptDigest(s.Prompt)]; len(starts) > 0 {
			switch first := starts[0]; {
			case first < before.start:
				v.found(&v.OutOfOrder, "chat %d, message %d: run before an earlier one", s.Chat, s.Number)
			case first < before.end:
				v.found(&v.OutOfOrder, "chat %d, message %d: run during an earlier one", s.Chat, s.Number)
			}
			before.start = max(before.start, starts[0])
			before.end = max(before.end, ends[j.Ran[starts[0]].Run])
		}
	}
}
