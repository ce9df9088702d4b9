// Package turn runs turns: it gives each one a slot and its session, starts
// Codex, numbers what Codex says, has it journaled before anyone sees it, enforces
// the limits and decides how the turn ended. Readers of a turn come and go
// without any effect on it: they never slow it down and never stop it.
package turn

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/tracing"
	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/journal"
	"telecodex.dev/services/orchestrator/internal/meters"
)

// Errors of the manager. Failures of the journal come as they are.
var (
	// ErrReused says that the id stands for another input.
	ErrReused = errors.New("turn id was used with another input")
	// ErrSessionBusy says that another turn of the session runs.
	ErrSessionBusy = errors.New("another turn of this session runs")
	// ErrFull says that every slot is taken.
	ErrFull = errors.New("every slot is taken")
	// ErrDraining says that the worker takes no new turns.
	ErrDraining = errors.New("the worker takes no new turns")
)

// Options are what a manager works with.
type Options struct {
	Journal *journal.Journal
	Engine  codex.Engine
	Slots   int           // turns that may run at once
	Timeout time.Duration // of a turn whose request names none
	Idle    time.Duration // without an event while no item is in progress
	Meter   *meters.Meter
	Trace   *tracing.Tracer
	Log     *zap.Logger
}

// Manager runs the turns of a worker.
type Manager struct {
	journal *journal.Journal
	engine  codex.Engine
	slots   int
	timeout time.Duration
	idle    time.Duration
	meter   *meters.Meter
	trace   *tracing.Tracer
	log     *zap.Logger

	running   sync.WaitGroup
	abandoned chan struct{} // closed when waiting for the disk is over

	mu       sync.Mutex
	turns    map[string]*Turn // by turn id
	sessions map[string]*Turn // by session id
	draining bool             // no new turns are taken
	closing  bool             // and never will be: the process is about to end
	cut      *time.Timer      // stops what runs, while draining; nil: nothing does
	changed  chan struct{}    // closed and replaced with every change of Status
}

// NewManager returns a manager. Drain ends it.
func NewManager(o Options) *Manager {
	return &Manager{
		journal: o.Journal, engine: o.Engine, slots: o.Slots, timeout: o.Timeout, idle: o.Idle, meter: o.Meter, trace: o.Trace, log: o.Log,
		abandoned: make(chan struct{}), turns: map[string]*Turn{}, sessions: map[string]*Turn{}, changed: make(chan struct{}),
	}
}

// Recover ends the turns that an earlier process of the worker left open. It must
// return before anything else is called.
func (m *Manager) Recover(ctx context.Context) error {
	records, logs, err := m.journal.Unfinished(ctx)
	if err != nil {
		return err
	}
	for i, record := range records {
		if err := m.recover(ctx, record, logs[i]); err != nil {
			return err
		}
	}
	return nil
}

// recover finishes one turn. Its events are read again, since the worker may have
// gone between turn.completed and the finished event: then the answer is there.
func (m *Manager) recover(ctx context.Context, record journal.Record, log *journal.Log) error {
	o := newOutcome(record.AskedThread)
	for after := uint64(0); after < record.LastSequence; {
		events, err := m.journal.Events(ctx, record.Row, after)
		if err != nil {
			return err
		}
		for _, event := range events {
			o.observe(event)
		}
		after = events[len(events)-1].GetSequence()
	}
	crashpoint.Here(crashpoint.Recovering)
	finished := o.finish(ending{cause: orchestratorv1.FinishCause_FINISH_CAUSE_WORKER_LOST})
	event := finishedEvent(finished)
	event.TurnId, event.Sequence, event.OccurredAt = record.TurnID, record.LastSequence+1, timestamppb.Now()
	update := journal.Update{State: finished.GetState(), Finished: event, FinishedAt: event.OccurredAt.AsTime()}
	result := make(chan error, 1)
	if err := log.Append([]*orchestratorv1.TurnEvent{event}, update, func(err error) { result <- err }); err != nil {
		return err
	}
	if err := <-result; err != nil {
		return err
	}
	m.meter.Ended(finished, 0)
	m.log.Warn("turn of an earlier process ended", zap.String("turn_id", record.TurnID), zap.Stringer("state", finished.GetState()))
	return nil
}

// Known reports whether the worker knows the turn: it runs, or the journal has
// it. A tombstone is known whatever the input. Errors: ErrReused.
func (m *Manager) Known(ctx context.Context, spec Spec) (bool, error) {
	record, err := m.journal.Get(ctx, spec.TurnID)
	if errors.Is(err, journal.ErrUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, sameInput(record, spec.Digest())
}

func sameInput(record journal.Record, digest journal.Digest) error {
	if !record.Tombstone && record.Digest != digest {
		return ErrReused
	}
	return nil
}

// Start starts a turn and returns once it is journaled; attached says that it was
// already. The turn goes on when ctx ends.
//
// Errors: ErrReused, ErrDraining, ErrSessionBusy, ErrFull: nothing was journaled
// now, but the turn may be Known; so with *sqldb.Error.
func (m *Manager) Start(ctx context.Context, spec Spec) (attached bool, err error) {
	for {
		t, mine, err := m.reserve(spec)
		if err != nil {
			return false, err
		}
		select {
		case <-t.decided:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		switch {
		case t.refused != nil && !mine:
			continue // the other call failed; this one is to find out why itself
		case t.refused != nil:
			return false, t.refused
		}
		return !mine || t.attached, sameInput(t.journaled, spec.Digest())
	}
}

// reserve takes the session and a slot for a new turn and runs it, or finds the
// turn of the same id. The turn is started under mu, so that Drain waits for every
// turn that has a slot.
func (m *Manager) reserve(spec Spec) (t *Turn, mine bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.turns[spec.TurnID]; other != nil {
		return other, false, nil
	}
	switch {
	case m.draining:
		return nil, false, ErrDraining
	case m.sessions[spec.SessionID] != nil:
		return nil, false, ErrSessionBusy
	case len(m.turns) >= m.slots:
		return nil, false, ErrFull
	}
	t = newTurn(m, spec)
	m.turns[spec.TurnID], m.sessions[spec.SessionID] = t, t
	m.running.Go(t.run)
	m.change()
	return t, true, nil
}

// release gives back what reserve took.
func (m *Manager) release(t *Turn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.turns, t.spec.TurnID)
	delete(m.sessions, t.spec.SessionID)
	m.change()
}

// change tells the watchers of Status; the caller holds mu.
func (m *Manager) change() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// find returns the running turn of an id once the journal has it, else nil.
func (m *Manager) find(ctx context.Context, turnID string) (*Turn, error) {
	m.mu.Lock()
	t := m.turns[turnID]
	m.mu.Unlock()
	if t == nil {
		return nil, nil
	}
	select {
	case <-t.decided:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if t.refused != nil || t.attached {
		return nil, nil
	}
	return t, nil
}

// Follow yields the events of a turn after a sequence: those that are stored, then
// those to come, to the finished one. The end of ctx is an error of the sequence.
// Errors: journal.ErrUnknown; journal.ErrClosed for a turn whose end could not be
// stored before the worker stopped.
func (m *Manager) Follow(ctx context.Context, turnID string, after uint64) (Events, error) {
	t, record, err := m.look(ctx, turnID)
	if err != nil {
		return nil, err
	}
	if t != nil {
		return t.follow(ctx, after), nil
	}
	return replay(ctx, m.journal, record, after), nil
}

// look finds a turn: running here, or ended in the journal.
func (m *Manager) look(ctx context.Context, turnID string) (*Turn, journal.Record, error) {
	for {
		t, err := m.find(ctx, turnID)
		if t != nil || err != nil {
			return t, journal.Record{}, err
		}
		record, err := m.journal.Get(ctx, turnID)
		if err != nil || record.Finished != nil {
			return nil, record, err
		}
		// It began between the two looks, or its end could not be stored.
		select {
		case <-m.abandoned:
			return nil, record, journal.ErrClosed
		default:
		}
	}
}

// Cancel asks a turn to stop and returns what is known of it. It is idempotent.
// An id that is not known becomes a tombstone.
func (m *Manager) Cancel(ctx context.Context, turnID string) (journal.Record, error) {
	for {
		t, record, err := m.look(ctx, turnID)
		if t != nil {
			t.stop(orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED)
			return m.journal.Get(ctx, turnID)
		}
		if errors.Is(err, journal.ErrUnknown) {
			record, err = m.journal.Tombstone(tombstoneEvent(turnID))
		}
		if err != nil || record.Finished != nil {
			return record, err
		}
	}
}

// Status is how busy the worker is.
type Status struct {
	Total, Used int
	Draining    bool // no new turns are taken
	Closing     bool // for good
	// Changed is closed when any of it changes.
	Changed <-chan struct{}
}

// Status returns the state of the slots.
func (m *Manager) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status()
}

func (m *Manager) status() Status {
	return Status{Total: m.slots, Used: len(m.turns), Draining: m.draining, Closing: m.closing, Changed: m.changed}
}

// pause waits, and reports whether to go on.
func (m *Manager) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-m.abandoned:
		return false
	}
}
