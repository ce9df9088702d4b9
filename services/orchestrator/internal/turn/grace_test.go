package turn

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/journal"
)

// actor is a Codex that plays a part, and then does nothing until it is killed. It
// writes down when it was told what.
type actor struct {
	codex.Run
	codex.Engine
	part []act
	born time.Time
	told []string // "interrupt at 2s"
	gone chan struct{}
	left bool
}

// act is what a Codex does at a time after its start.
type act struct {
	at     time.Duration
	says   *orchestratorv1.TurnEvent
	closes bool // its output
	leaves bool
}

func (a *actor) Start(codex.Request) (codex.Run, error) {
	a.born = time.Now()
	for _, act := range a.part {
		if act.leaves {
			a.left = true
			time.AfterFunc(act.at, func() { close(a.gone) })
		}
	}
	return a, nil
}

func (a *actor) Version(context.Context) (string, error) { return "", nil }

func (a *actor) Next() ([]*orchestratorv1.TurnEvent, error) {
	if len(a.part) == 0 || a.part[0].leaves {
		<-a.gone
		return nil, io.EOF
	}
	next := a.part[0]
	a.part = a.part[1:]
	time.Sleep(time.Until(a.born.Add(next.at)))
	if next.closes {
		return nil, io.EOF
	}
	return []*orchestratorv1.TurnEvent{next.says}, nil
}

func (a *actor) Stats() codex.Stats    { return codex.Stats{} }
func (a *actor) Done() <-chan struct{} { return a.gone }
func (a *actor) Interrupt()            { a.tell("interrupt") }

func (a *actor) Kill() {
	a.tell("kill")
	if !a.left {
		close(a.gone)
	}
}

func (a *actor) tell(what string) {
	a.told = append(a.told, what+" at "+time.Since(a.born).String())
}

func (a *actor) Wait() codex.Exit {
	<-a.gone
	return codex.Exit{Signal: "SIGKILL"}
}

// Who is asked to leave has two seconds for it, and so has who has said that it is
// done, or closed its output.
func TestCodexHasTwoSecondsToLeave(t *testing.T) {
	const (
		succeeded = orchestratorv1.TurnState_TURN_STATE_SUCCEEDED
		unhappy   = orchestratorv1.TurnState_TURN_STATE_FAILED
		cancelled = orchestratorv1.TurnState_TURN_STATE_CANCELLED
	)
	begins := act{says: started(threadA)}
	for _, tt := range []struct {
		name   string
		part   []act
		cancel time.Duration // after the start; 0: never
		told   []string
		state  orchestratorv1.TurnState
	}{
		{"it is done and stays", []act{begins, {at: time.Second, says: completed()}}, 0, []string{"interrupt at 3s", "kill at 5s"}, succeeded},
		{"it failed and stays", []act{begins, {at: time.Second, says: failed("no")}}, 0, []string{"interrupt at 3s", "kill at 5s"}, unhappy},
		{"it is done and leaves in time", []act{begins, {at: time.Second, says: completed()}, {at: 2999 * time.Millisecond, leaves: true}}, 0, nil, succeeded},
		{"it is done and leaves when it is asked", []act{begins, {at: time.Second, says: completed()}, {at: 4999 * time.Millisecond, leaves: true}}, 0, []string{"interrupt at 3s"}, succeeded},
		{"it closes its output and stays", []act{begins, {at: 5 * time.Second, closes: true}}, 0, []string{"interrupt at 7s", "kill at 9s"}, unhappy},
		{"it is cancelled and stays", []act{begins}, 10 * time.Second, []string{"interrupt at 10s", "kill at 12s"}, cancelled},
		{"it is cancelled and leaves", []act{begins, {at: 11999 * time.Millisecond, leaves: true}}, 10 * time.Second, []string{"interrupt at 10s"}, cancelled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				finished, told := play(t, dir, &actor{part: tt.part, gone: make(chan struct{})}, tt.cancel)
				if !slices.Equal(told, tt.told) || finished.GetState() != tt.state {
					t.Errorf("Codex was told %q, want %q; the turn ended as %v, want %v", told, tt.told, finished.GetState(), tt.state)
				}
			})
		})
	}
}

// play runs a turn to its end.
func play(t *testing.T, dir string, a *actor, cancel time.Duration) (*orchestratorv1.Finished, []string) {
	t.Helper()
	log, err := journal.Open(t.Context(), filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	m := NewManager(Options{Journal: log, Engine: a, Slots: 1, Timeout: time.Hour, Idle: time.Hour, Log: zap.NewNop()})
	spec := Spec{TurnID: "turn", SessionID: "telegram:1", Codex: codex.Request{Dir: dir}}
	turn, mine, err := m.reserve(spec)
	if err != nil || !mine {
		t.Fatalf("reserve() = %v, %v", mine, err)
	}
	if cancel > 0 {
		time.Sleep(cancel)
		turn.stop(orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED)
	}
	m.Drain(time.Hour)
	r, err := log.Get(t.Context(), spec.TurnID)
	if err != nil {
		t.Fatal(err)
	}
	return r.Finished.GetFinished(), a.told
}
