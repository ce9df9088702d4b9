package turn

import (
	"errors"
	"io"
	"os"
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

// How long Codex may take to leave: after it said that the turn is over (or
// closed its output), and between SIGINT and SIGKILL.
const (
	leaveGrace = 2 * time.Second
	killGrace  = 2 * time.Second
)

// sayGrace is how long Codex may be silent before the journal says that it runs. A
// turn that speaks sooner saves a commit.
const sayGrace = 50 * time.Millisecond

// appendBytes is how much text goes into one append, so that a huge message does
// not evade the journal's bound on what waits for a commit.
const appendBytes = 512 << 10

// Spec is a turn to be run.
type Spec struct {
	TurnID     string
	SessionID  string
	WorkingDir string        // as the caller asked for it; part of the digest
	Timeout    time.Duration // from the start of the turn; 0: the worker's own
	MakeDir    bool          // create Codex.Dir (0700) when it is missing
	Codex      codex.Request
	Trace      tracing.Parent // what the turn belongs to; zero: nothing that is traced
}

// Digest is what makes another request for the same id the same turn.
func (s Spec) Digest() journal.Digest {
	return journal.DigestOf(s.SessionID, s.Codex.ThreadID, s.Codex.Prompt, s.WorkingDir)
}

// Turn is one turn that this process runs. A single goroutine (run) owns its
// events, limits and process; followers and callers only see what is behind mu.
type Turn struct {
	manager *Manager
	spec    Spec
	digest  journal.Digest
	log     *zap.Logger

	decided   chan struct{} // closed once the journal has taken or refused the turn
	refused   error         // set before decided is closed
	attached  bool          // as refused: the journal had the id already
	journaled journal.Record

	stopping chan orchestratorv1.FinishCause // requests to stop; the first counts

	// Owned by run.
	writer   *journal.Log
	outcome  *outcome
	sequence uint64 // of the last event that was handed to the journal
	started  time.Time
	thread   string
	begun    journal.Update // that Codex runs, until it is written: with its first events, or after sayGrace
	ending   ending

	mu        sync.Mutex
	committed uint64
	ended     bool
	last      *orchestratorv1.TurnEvent // the finished event, once ended; immutable then
	followers map[*follower]struct{}
	retained  []*orchestratorv1.TurnEvent // handed in, but their commit failed
	failure   chan struct{}               // closed with the first failed commit
}

func newTurn(m *Manager, spec Spec) *Turn {
	return &Turn{
		manager:   m,
		spec:      spec,
		digest:    spec.Digest(),
		log:       m.log.With(zap.String("turn_id", spec.TurnID), zap.String("session_id", spec.SessionID)),
		decided:   make(chan struct{}),
		stopping:  make(chan orchestratorv1.FinishCause, 1),
		outcome:   newOutcome(spec.Codex.ThreadID),
		followers: map[*follower]struct{}{},
		failure:   make(chan struct{}),
	}
}

// stop asks the turn to end. The first request counts.
func (t *Turn) stop(cause orchestratorv1.FinishCause) {
	select {
	case t.stopping <- cause:
	default:
	}
}

// run takes the turn from the journal's row to its finished event.
func (t *Turn) run() {
	accepted := t.accept()
	crashpoint.Here(crashpoint.Journaled)
	if !accepted {
		close(t.decided)
		t.manager.release(t)
		return
	}
	t.started = time.Now()
	// Before anyone is told, so that who was finds it counted.
	t.manager.meter.Started()
	close(t.decided)
	t.execute()
	crashpoint.Here(crashpoint.Reaped)
	t.conclude(t.outcome.finish(t.ending))
}

// accept writes the turn's row, before anything is started.
func (t *Turn) accept() bool {
	crashpoint.Here(crashpoint.Reserved)
	record, writer, err := t.manager.journal.Accept(journal.NewTurn{
		TurnID: t.spec.TurnID, SessionID: t.spec.SessionID, ThreadID: t.spec.Codex.ThreadID, Digest: t.digest, Created: time.Now(),
	})
	t.journaled, t.writer, t.refused, t.attached = record, writer, err, err == nil && writer == nil
	return writer != nil
}

// execute starts Codex and stays with it until it is gone and its output read.
func (t *Turn) execute() {
	select {
	case cause := <-t.stopping:
		t.ending.cause = cause
		return
	default:
	}
	run, err := t.spawn()
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // the error itself says as much as may be shown to callers
		}
		t.log.Warn("codex could not be started", zap.Error(err))
		t.ending.cause = orchestratorv1.FinishCause_FINISH_CAUSE_SPAWN
		return
	}
	t.log.Info("codex started")
	crashpoint.Here(crashpoint.Spawned)
	t.begun = journal.Update{State: orchestratorv1.TurnState_TURN_STATE_RUNNING, Started: t.started}
	newWatch(t, run).follow()
	exit := run.Wait()
	t.ending.exit = &exit
}

func (t *Turn) spawn() (codex.Run, error) {
	if t.spec.MakeDir {
		if err := os.MkdirAll(t.spec.Codex.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	run, err := t.manager.engine.Start(t.spec.Codex)
	t.manager.meter.Spawned(err)
	return run, err
}

// take stamps events, keeps track of them and hands them to the journal.
func (t *Turn) take(events []*orchestratorv1.TurnEvent) {
	for len(events) > 0 {
		n, bytes, update := 0, 0, t.begun
		t.begun = journal.Update{}
		for n < len(events) && bytes < appendBytes {
			event := events[n]
			t.stamp(event)
			t.outcome.observe(event)
			t.manager.meter.Made(event)
			bytes += sizeOf(event)
			n++
		}
		if t.thread != t.outcome.thread && !t.outcome.mismatch {
			t.thread = t.outcome.thread
			update.ThreadID = t.thread
		}
		t.append(events[:n:n], update)
		events = events[n:]
	}
}

// say journals that Codex runs, unless that is done.
func (t *Turn) say() {
	if t.begun != (journal.Update{}) {
		t.append(nil, t.begun)
		t.begun = journal.Update{}
	}
}

func (t *Turn) stamp(event *orchestratorv1.TurnEvent) {
	t.sequence++
	event.TurnId, event.Sequence = t.spec.TurnID, t.sequence
	if event.OccurredAt == nil {
		event.OccurredAt = timestamppb.Now()
	}
}

// append hands events to the journal and, once they are committed, to the
// followers.
func (t *Turn) append(events []*orchestratorv1.TurnEvent, update journal.Update) {
	err := t.writer.Append(events, update, func(err error) {
		if err != nil {
			t.retain(events)
			return
		}
		crashpoint.Here(crashpoint.Appended)
		t.publish(events, false)
	})
	if err != nil {
		t.retain(events)
	}
}

// retain keeps events whose commit failed, to be written with the finished
// event: their sequence numbers stay theirs.
func (t *Turn) retain(events []*orchestratorv1.TurnEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retained = append(t.retained, events...)
	select {
	case <-t.failure:
	default:
		close(t.failure)
	}
}

// conclude commits the finished event, with everything that could not be
// committed before, and only then lets anyone see that the turn is over. While
// the disk refuses, it tries again until the worker is closed; the turn then ends
// at the next start.
func (t *Turn) conclude(finished *orchestratorv1.Finished) {
	event := finishedEvent(finished)
	t.stamp(event)
	update := journal.Update{State: finished.GetState(), ThreadID: t.thread, Finished: event}
	if t.ending.exit != nil {
		update.Started = t.started
	}
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		event.OccurredAt = timestamppb.Now()
		update.FinishedAt = event.OccurredAt.AsTime()
		events, err := t.commitLast(event, update)
		if err == nil {
			crashpoint.Here(crashpoint.Finished)
			// Before anyone sees the end or the free slot, so that who has finds it counted.
			t.manager.meter.Ended(finished, time.Since(t.started))
			t.manager.release(t)
			t.publish(events, true)
			break
		}
		t.log.Error("the journal cannot be written", zap.Error(err), zap.Duration("retry_in", delay))
		if errors.Is(err, journal.ErrClosed) || !t.manager.pause(delay) {
			t.manager.release(t)
			t.abandon()
			return
		}
	}
	t.traced(finished)
	t.log.Info("turn ended", zap.Stringer("state", finished.GetState()), zap.Stringer("cause", finished.GetErrorDetail().GetCause()),
		zap.Uint64("events", t.sequence), zap.Duration("took", time.Since(t.started)))
}

// traced records the turn's time with Codex, until its end was journaled.
func (t *Turn) traced(f *orchestratorv1.Finished) {
	t.manager.trace.Record(tracing.Span{Name: "codex", Parent: t.spec.Trace, Start: t.started, End: time.Now(),
		Failed: f.GetErrorDetail() != nil, Attributes: tracing.Attributes{tracing.InTurn(t.spec.TurnID), tracing.Events(t.sequence),
			tracing.Became(meters.Word(f.GetState())), tracing.Because(meters.Word(f.GetErrorDetail().GetCause()))}})
}

// commitLast commits what was retained and the last event, and returns all of
// it. The journal answers in order, so that when it answers here, every earlier
// append has been answered.
func (t *Turn) commitLast(event *orchestratorv1.TurnEvent, update journal.Update) ([]*orchestratorv1.TurnEvent, error) {
	t.mu.Lock()
	events := append(t.retained[:len(t.retained):len(t.retained)], event)
	t.mu.Unlock()
	result := make(chan error, 1)
	if err := t.writer.Append(events, update, func(err error) { result <- err }); err != nil {
		return nil, err
	}
	return events, <-result
}

// chunk is what reading Codex's output came to.
type chunk struct {
	events []*orchestratorv1.TurnEvent
	err    error // io.EOF at its end
}

// read reads Codex's output ahead of the turn's goroutine, by one chunk.
func (t *Turn) read(run codex.Run, chunks chan<- chunk) {
	defer close(chunks)
	for before := uint64(0); ; {
		events, err := run.Next()
		now := run.Stats().Bytes
		t.manager.meter.Read(now - before)
		before = now
		chunks <- chunk{events, err}
		if err != nil {
			return
		}
	}
}

func broken(err error) bool { return err != nil && !errors.Is(err, io.EOF) }
