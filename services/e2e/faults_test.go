package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"telecodex.dev/services/internal/telegramsim"
)

func TestAKilledGatewayLosesNothingAndRunsNothingTwice(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	const count = 12
	var prompts []string
	for i := range count {
		prompts = append(prompts, fmt.Sprintf("!scenario slow FAKE_CODEX_DELAY=40\nprompt %d", i))
		s.say(prompts[i])
	}
	s.startGateway(nil)
	// Killed whenever another turn has begun, so at ever other points of it.
	kills := 0
	for i := 0; i < count; i += 3 {
		s.eventually("the next turns begin", func() bool { started, _ := s.runs(prompts[i]); return started == 1 })
		if err := s.gateway.Kill(); err != nil {
			t.Fatal(err)
		}
		kills++
		s.startGateway(nil)
	}
	s.hears(fmt.Sprintf("You said: prompt %d", count-1))
	var texts []string
	for _, m := range s.sim.Messages(chat) {
		texts = append(texts, m.Text)
	}
	// What was being sent when the gateway was killed is sent again.
	once := slices.Compact(slices.Clone(texts))
	if again := len(texts) - len(once); again > kills {
		t.Errorf("%d answers were sent again after %d deaths: %q", again, kills, texts)
	}
	for i, prompt := range prompts {
		if started, ended := s.runs(prompt); started != 1 || ended != 1 {
			t.Errorf("prompt %d: %d started, %d ended", i, started, ended)
		}
		if want := fmt.Sprintf("You said: prompt %d", i); i >= len(once) || once[i] != want {
			t.Errorf("message %d is not %q: %q", i, want, texts)
		}
	}
}

func TestAKilledWorkerLeavesTheDecisionToThePerson(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	prompt := "!scenario hang\nx"
	s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	if err := s.worker.Kill(); err != nil {
		t.Fatal(err)
	}
	s.startWorker()
	if question := s.heard(1)[0]; !strings.Contains(question, "it may have partly run") {
		t.Errorf("the person is asked %q", question)
	}
	s.say("meanwhile")
	if answer := s.heard(2)[1]; answer != "You said: meanwhile" {
		t.Errorf("a later message is answered %q", answer)
	}
	s.say("/drop")
	s.heard(3)
	if started, _ := s.runs(prompt); started != 1 {
		t.Errorf("the interrupted turn ran %d times", started)
	}
}

// interruptedWith has a turn interrupted, by the end of its worker, while "second"
// waits, and returns its prompt. The gateway was killed right after the notice.
func interruptedWith(s *system) (prompt string) {
	s.t.Helper()
	s.startWorker()
	s.startGateway(nil)
	prompt = "!scenario hang\nx"
	s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	if err := s.worker.Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.say("second")
	s.say("/status")
	s.hears("1 message waits.")
	s.startWorker()
	s.hears("waits until you have decided, for 10 minutes at most")
	if err := s.gateway.Kill(); err != nil {
		s.t.Fatal(err)
	}
	return prompt
}

// hears waits for a message that contains a text, and returns how many were sent
// before it: what was being sent when a gateway was killed is sent again.
func (s *system) hears(text string) (place int) {
	s.t.Helper()
	s.eventually("a message that says "+text, func() bool {
		place = slices.IndexFunc(s.sim.Messages(chat), func(m telegramsim.Message) bool { return strings.Contains(m.Text, text) })
		return place >= 0
	})
	return place
}

func TestWhatWaitedForAnInterruptedTurnIsHeldBack(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	prompt := interruptedWith(s)
	s.startGateway(nil)
	s.say("/status")
	s.hears("What waits goes on once you have decided")
	if started, _ := s.runs("second"); started != 0 {
		t.Error("what waited ran before the person has decided or written again")
	}
	s.say("third")
	if third, second := s.hears("You said: third"), s.hears("You said: second"); third < second {
		t.Error("what waited was overtaken")
	}
	s.say("/again") // it is still the person's decision
	s.eventually("the task runs again", func() bool { started, _ := s.runs(prompt); return started == 2 })
	s.say("/cancel")
	s.hears("Stopped.")
}

func TestOneCycleLeavesWhatIsHeldBack(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	interruptedWith(s)
	s.say("/help")
	if status, _ := s.once(); status != 0 {
		t.Errorf("status %d", status)
	}
	if started, _ := s.runs("second"); started != 0 {
		t.Error("what is held back ran")
	}
	s.say("/drop")
	s.once()
	s.hears("It is dropped.")
	s.hears("You said: second")
}

func TestCancelStopsCodex(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	prompt := "!scenario hang\nx"
	s.say(prompt)
	s.eventually("Codex runs", func() bool { started, _ := s.runs(prompt); return started == 1 })
	s.say("/cancel")
	if answer := s.heard(1)[0]; !strings.HasPrefix(answer, "Stopped.") {
		t.Errorf("/cancel is answered %q", answer)
	}
	s.say("next")
	if answer := s.heard(2)[1]; answer != "You said: next" {
		t.Errorf("the next message is answered %q", answer)
	}
}

func TestALongAnswerArrivesAsAFile(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startWorker()
	s.startGateway(nil)
	s.say("!scenario huge_line FAKE_CODEX_BYTES=3000000\nx")
	s.heard(2)
	messages := s.sim.Messages(chat)
	if d := messages[1].Document; d == nil || len(d.Content) != 3_000_000 {
		t.Error("the file is not the whole answer")
	}
}

func TestAWorkerThatComesLateRunsWhatWaits(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.startGateway(nil)
	s.say("one")
	s.say("/status")
	if status := s.heard(1)[0]; !strings.Contains(status, "The worker cannot be reached right now.") {
		t.Errorf("/status is answered %q", status)
	}
	s.startWorker()
	if texts := s.heard(2); !slices.Contains(texts, "You said: one") {
		t.Errorf("messages = %q", texts)
	}
}
