package turn

import (
	"context"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/journal"
)

// deafCodex is a Codex whose answer is in the pipe already, and that SIGINT does
// not reach: it has no handler for it.
type deafCodex struct {
	codex.Run
	codex.Engine
	said []*orchestratorv1.TurnEvent
	once sync.Once
	gone chan struct{}
}

// Start takes as long as the clock needs to show that any time has passed.
func (d *deafCodex) Start(codex.Request) (codex.Run, error) {
	for began := time.Now(); time.Since(began) == 0; {
	}
	return d, nil
}

func (d *deafCodex) Version(context.Context) (string, error) { return "", nil }

func (d *deafCodex) Next() ([]*orchestratorv1.TurnEvent, error) {
	said := d.said
	d.said = nil
	if said == nil {
		<-d.gone
		return nil, io.EOF
	}
	return said, nil
}

func (d *deafCodex) Stats() codex.Stats    { return codex.Stats{} }
func (d *deafCodex) Interrupt()            {}
func (d *deafCodex) Kill()                 { d.once.Do(func() { close(d.gone) }) }
func (d *deafCodex) Done() <-chan struct{} { return d.gone }

func (d *deafCodex) Wait() codex.Exit {
	<-d.gone
	return codex.Exit{Signal: "SIGKILL"}
}

// However fast Codex is, a limit that passes before it speaks ends the turn at
// once, and nothing of it counts.
func TestALimitThatPassesBeforeCodexSpeaksEndsTheTurn(t *testing.T) {
	dir := t.TempDir()
	log, err := journal.Open(t.Context(), filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fast := &deafCodex{gone: make(chan struct{}), said: []*orchestratorv1.TurnEvent{
		{Detail: &orchestratorv1.TurnEvent_TurnCompleted{TurnCompleted: &orchestratorv1.TurnCompleted{}}}}}
	m := NewManager(Options{Journal: log, Engine: fast, Slots: 1, Timeout: time.Minute, Idle: time.Minute, Log: zap.NewNop()})
	spec := Spec{TurnID: "turn", SessionID: "telegram:1", Timeout: 1, Codex: codex.Request{Dir: dir}}
	if _, mine, err := m.reserve(spec); err != nil || !mine {
		t.Fatalf("reserve() = %v, %v", mine, err)
	}
	m.Drain(time.Minute)
	r, err := log.Get(t.Context(), spec.TurnID)
	if err != nil || r.Finished.GetSequence() != 1 ||
		r.Finished.GetFinished().GetErrorDetail().GetCause() != orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT {
		t.Errorf("the turn ended as %v, %v", r.Finished, err)
	}
}
