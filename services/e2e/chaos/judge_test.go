package chaos

import (
	"fmt"
	"testing"

	"telecodex.dev/services/internal/codexsim"
	"telecodex.dev/services/internal/telegramsim"
)

// scene is evidence that grows by what happens.
type scene struct{ Evidence }

// said has a person write the next prompt of chat 1; its message id is ten times
// its number.
func (s *scene) said(number int) Said {
	said := Said{Place{1, int64(10 * number)}, number, fmt.Sprintf("prompt %d", number)}
	s.Said = append(s.Said, said)
	return said
}

func (s *scene) heard(number int, text string) {
	s.Heard = append(s.Heard, telegramsim.Message{Seq: len(s.Heard) + 1, ChatID: 1, ReplyTo: int64(10 * number), Text: text})
}

func (s *scene) starts(prompt string) (run string) {
	run = fmt.Sprint(len(s.Ran))
	s.Ran = append(s.Ran, codexsim.LogEntry{Event: "start", Run: run, PromptSHA256: codexsim.PromptDigest(prompt)})
	return run
}

func (s *scene) ends(run string) { s.Ran = append(s.Ran, codexsim.LogEntry{Event: "end", Run: run}) }

func (s *scene) ran(prompt string) { s.ends(s.starts(prompt)) }

// answered is a whole round trip.
func (s *scene) answered(number int) {
	s.ran(s.said(number).Prompt)
	s.heard(number, answerBegins+fmt.Sprintf("prompt %d", number))
}

// interrupted is a prompt that was run and about which a person is asked.
func (s *scene) interrupted(number int) Said {
	said := s.said(number)
	s.starts(said.Prompt)
	s.heard(number, questionBegins+".")
	return said
}

func (s *scene) decided(message int64, choice string) {
	s.Decided = append(s.Decided, Decision{Place{1, message}, choice})
}

func TestJudge(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(*scene)
		want    Verdict // without words
	}{
		"nothing": {func(*scene) {}, Verdict{}},
		"all is well": {func(s *scene) { s.answered(1); s.answered(2) },
			Verdict{Messages: 2, Answered: 2, Runs: 2}},
		"a message is lost": {func(s *scene) { s.answered(1); s.said(2) },
			Verdict{Messages: 2, Answered: 1, Runs: 1, Lost: 1}},
		"an answer is lost": {func(s *scene) { s.ran(s.said(1).Prompt) },
			Verdict{Messages: 1, Runs: 1, Lost: 1}},
		"a command is answered": {func(s *scene) { s.Said = []Said{{Place{1, 10}, 1, ""}}; s.heard(1, "Idle.") },
			Verdict{Messages: 1, Answered: 1}},
		"a notice is no answer": {func(s *scene) {
			s.Said = []Said{{Place{1, 10}, 1, ""}}
			s.heard(1, "The worker cannot be reached right now. Wait.")
		}, Verdict{Messages: 1, Lost: 1}},
		"a command is lost": {func(s *scene) { s.Said = []Said{{Place{1, 10}, 1, ""}} },
			Verdict{Messages: 1, Lost: 1}},
		"a prompt is run twice": {func(s *scene) { s.ran("prompt 1"); s.answered(1) },
			Verdict{Messages: 1, Answered: 1, Runs: 2, RunTwice: 1}},
		"a prompt that nobody wrote is run": {func(s *scene) { s.ran("other") },
			Verdict{Runs: 1, RunTwice: 1}},
		"an answer without a run": {func(s *scene) { s.said(1); s.heard(1, answerBegins+"prompt 1") },
			Verdict{Messages: 1, Answered: 1, Wrong: 1}},
		"answers change places": {func(s *scene) {
			s.ran(s.said(1).Prompt)
			s.ran(s.said(2).Prompt)
			s.heard(2, answerBegins+"prompt 2")
			s.heard(1, answerBegins+"prompt 1")
		}, Verdict{Messages: 2, Answered: 2, Runs: 2, OutOfOrder: 1}},
		"runs change places": {func(s *scene) {
			s.ran("prompt 2")
			s.answered(1)
			s.said(2)
			s.heard(2, answerBegins+"prompt 2")
		}, Verdict{Messages: 2, Answered: 2, Runs: 2, OutOfOrder: 1}},
		"two runs of a chat at once": {func(s *scene) {
			run := s.starts(s.said(1).Prompt)
			s.heard(1, answerBegins+"prompt 1")
			s.answered(2)
			s.ends(run)
		}, Verdict{Messages: 2, Answered: 2, Runs: 2, OutOfOrder: 1}},
		"an answer arrives twice": {func(s *scene) { s.answered(1); s.heard(1, answerBegins+"prompt 1") },
			Verdict{Messages: 1, Answered: 1, Runs: 1, Duplicates: 1, Unexcused: 1}},
		"an answer in doubt arrives twice": {func(s *scene) {
			s.answered(1)
			s.heard(1, answerBegins+"prompt 1")
			s.InDoubt = map[Place]int{{1, 10}: 1}
		}, Verdict{Messages: 1, Answered: 1, Runs: 1, Duplicates: 1, InDoubt: 1}},
		"an answer in doubt arrives three times": {func(s *scene) {
			s.answered(1)
			s.heard(1, answerBegins+"prompt 1")
			s.heard(1, answerBegins+"prompt 1")
			s.InDoubt = map[Place]int{{1, 10}: 1}
		}, Verdict{Messages: 1, Answered: 1, Runs: 1, Duplicates: 2, InDoubt: 1, Unexcused: 1}},
		"the answer to another message": {func(s *scene) { s.ran(s.said(1).Prompt); s.heard(1, answerBegins+"prompt 2") },
			Verdict{Messages: 1, Answered: 1, Runs: 1, Wrong: 1}},
		"a failure": {func(s *scene) { s.ran(s.said(1).Prompt); s.heard(1, failureBegins+"…") },
			Verdict{Messages: 1, Runs: 1, Wrong: 1}},
		"nobody decides": {func(s *scene) { s.interrupted(1) },
			Verdict{Messages: 1, Runs: 1, Interrupted: 1, Lost: 1}},
		"dropped": {func(s *scene) { s.interrupted(1); s.decided(10, Drop) },
			Verdict{Messages: 1, Runs: 1, Interrupted: 1, Dropped: 1}},
		"dropped by command": {func(s *scene) { s.interrupted(1); s.decided(0, Drop) },
			Verdict{Messages: 1, Runs: 1, Interrupted: 1, Dropped: 1}},
		"a command meets another turn than the button that comes later": {func(s *scene) {
			s.interrupted(1)
			s.decided(0, Drop)
			s.decided(10, Again)
		}, Verdict{Messages: 1, Runs: 1, Interrupted: 1, Dropped: 1}},
		"one dropped by command, another lost": {func(s *scene) { s.interrupted(1); s.interrupted(2); s.decided(0, Drop) },
			Verdict{Messages: 2, Runs: 2, Interrupted: 2, Dropped: 1, Lost: 1}},
		"run again by decision, answered out of its place": {func(s *scene) {
			said := s.interrupted(1)
			s.answered(2)
			s.decided(10, Again)
			s.ran(said.Prompt)
			s.heard(1, answerBegins+said.Prompt)
		}, Verdict{Messages: 2, Answered: 2, Runs: 3, Interrupted: 1}},
		"run again by command": {func(s *scene) {
			s.ran(s.interrupted(1).Prompt)
			s.decided(0, Again)
			s.heard(1, answerBegins+"prompt 1")
		}, Verdict{Messages: 1, Answered: 1, Runs: 2, Interrupted: 1}},
		"run again twice by one decision": {func(s *scene) {
			said := s.interrupted(1)
			s.decided(10, Again)
			s.ran(said.Prompt)
			s.ran(said.Prompt)
			s.heard(1, answerBegins+said.Prompt)
		}, Verdict{Messages: 1, Answered: 1, Runs: 3, Interrupted: 1, RunTwice: 1}},
		"run again though dropped": {func(s *scene) { s.ran(s.interrupted(1).Prompt); s.decided(10, Drop) },
			Verdict{Messages: 1, Runs: 2, Interrupted: 1, Dropped: 1, RunTwice: 1}},
		"resumed": {func(s *scene) {
			s.interrupted(1)
			s.decided(10, Resume)
			s.ran("Go on.")
			s.heard(1, answerBegins+"Go on.")
		}, Verdict{Messages: 1, Answered: 1, Runs: 2, Interrupted: 1}},
		"resumed twice by one decision": {func(s *scene) {
			s.interrupted(1)
			s.decided(10, Resume)
			s.ran("Go on.")
			s.ran("Go on.")
			s.heard(1, answerBegins+"Go on.")
		}, Verdict{Messages: 1, Answered: 1, Runs: 3, Interrupted: 1, RunTwice: 1}},
		"a process is left": {func(s *scene) { s.Evidence.Orphans = []string{"fakecodex"} },
			Verdict{Orphans: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var s scene
			tt.happens(&s)
			got := Judge(s.Evidence)
			wrong := got.Lost + got.RunTwice + got.OutOfOrder + got.Unexcused + got.Wrong + got.Orphans
			if len(got.Findings) != wrong || got.OK() != (wrong == 0) {
				t.Errorf("%d wrong, but OK() is %t and it says %q", wrong, got.OK(), got.Findings)
			}
			got.Findings = nil
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("verdict = %+v\nwant      %+v", got, tt.want)
			}
		})
	}
}
