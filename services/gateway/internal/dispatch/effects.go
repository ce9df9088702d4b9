package dispatch

import (
	"context"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/lane"
	"telecodex.dev/services/gateway/internal/meters"
	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/tracing"
)

// do carries out one effect and returns what came of it. It fails only when the
// store is lost to another gateway.
func (r *runner) do(ctx context.Context, e lane.Effect) ([]lane.Input, error) {
	switch e {
	case lane.Load:
		return r.load(ctx)
	case lane.Place:
		return r.find(ctx)
	case lane.Run, lane.Watch:
		return r.connect(ctx, e), nil
	case lane.CancelTurn:
		r.cancelTurn(ctx)
	case lane.Acknowledge:
		r.m.acks.add(r.head)
	case lane.Pause:
		r.sleep()
		if r.m.Once && r.resting() { // one attempt for each update
			return []lane.Input{{Kind: lane.GiveUp}}, nil
		}
	case lane.Hold:
		switch {
		case r.m.cancelWanted(r.head.Key): // meanwhile
			return []lane.Input{{Kind: lane.Cancel}}, nil
		case r.m.Once: // a decision may be long in coming
			return []lane.Input{{Kind: lane.GiveUp}}, nil
		}
		r.elapse = time.NewTimer(r.m.heldFor(r.since))
	case lane.Close:
		r.closeCall()
	case lane.Report:
		r.report(ctx)
	case lane.RaiseAlarm:
		r.log.Error("this should never happen: a bug of the gateway or the worker", zap.String("turn_id", r.head.ID), zap.Error(r.refused))
	case lane.Leave:
		r.release()
	default:
		return r.commit(ctx, e)
	}
	return nil, nil
}

// load reads the head. Whatever was known of an earlier one is forgotten.
func (r *runner) load(ctx context.Context) ([]lane.Input, error) {
	r.release()
	stored, err := r.stored(ctx)
	if err != nil {
		return r.storeFailed(ctx, err)
	}
	head, session := stored.Turn, stored.Session
	if head.ID != r.head.ID {
		r.patience.progressed()
		r.seen = 0
	}
	r.head, r.held, r.since = head, session.WorkerID, stored.HeldSince
	if stored.Found {
		r.m.mu.Lock()
		r.chat = head.ChatID
		r.m.mu.Unlock()
	}
	r.accepted, r.last, r.reply, r.finished, r.refused, r.thread = nil, 0, reply{}, nil, nil, ""
	r.typed, r.lost = time.Time{}, false
	in := lane.Head{Held: session.WorkerID != "", Cancelled: stored.Found && r.m.cancelWanted(head.Key)}
	in.HeldBack, in.Lapsed = !r.since.IsZero(), r.m.heldFor(r.since) == 0
	switch {
	case !stored.Found:
	case head.Kind == store.KindNew && head.Prompt != "":
		in.Stored = lane.NewPrompt
	case head.Kind == store.KindNew:
		in.Stored = lane.NewChat
	case head.State == store.Assigned:
		in.Stored = lane.Assigned
	case head.State == store.Accepted:
		in.Stored = lane.Accepted
	default:
		in.Stored = lane.Queued
		if r.had = session.ThreadID; !stored.Fresh {
			r.head.ThreadID = session.ThreadID
		}
	}
	if in.Stored == lane.Assigned || in.Stored == lane.Accepted {
		r.place = r.m.Workers.Hold(head.WorkerID)
	}
	return []lane.Input{{Kind: lane.Loaded, Head: in}}, nil
}

// stored is what the lane goes on from: what the end of the last turn said, or
// else what the store says now.
func (r *runner) stored(ctx context.Context) (store.Lane, error) {
	if r.ahead == nil {
		r.m.mu.Lock()
		r.woken = false // whatever was put into the lane is read now
		r.m.mu.Unlock()
		return r.m.Store.Load(ctx, r.session)
	}
	defer func() { r.ahead = nil }()
	return *r.ahead, nil
}

// find takes a place at a worker for a new turn, if there is one.
func (r *runner) find(ctx context.Context) ([]lane.Input, error) {
	if r.m.Workers.Gone(r.held) {
		if err := r.unpin(ctx, store.Gone, render.WorkerGone()); err != nil {
			return nil, err
		}
	}
	if r.place == nil {
		r.place, _ = r.m.Workers.Take(r.held)
	}
	if r.place == nil && r.held != "" && !r.m.Workers.Takes(r.held) {
		if err := r.elsewhere(ctx); err != nil {
			return nil, err
		}
	}
	if r.place != nil {
		return []lane.Input{{Kind: lane.Placed}}, nil
	}
	r.refused = nil
	if r.m.Workers.Takes(r.held) {
		r.patience.answered() // every slot is taken, that is no trouble
	} else {
		r.patience.failed()
	}
	return []lane.Input{{Kind: lane.Unplaced}}, nil
}

// elsewhere takes a place at another worker for a session whose own takes no turns:
// at the one that the session was moved to meanwhile; or where its worker is lost,
// at any. The session keeps its worker for as long as no other has room: it may
// still come back.
func (r *runner) elsewhere(ctx context.Context) error {
	session, err := r.m.Store.Session(ctx, r.session)
	if err != nil {
		_, err = r.storeFailed(ctx, err)
		return err
	}
	if session.WorkerID != r.held {
		r.held = session.WorkerID
		r.place, _ = r.m.Workers.Take(r.held)
		return nil
	}
	if !r.m.Workers.Lost(r.held) {
		return nil
	}
	place, ok := r.m.Workers.Take("")
	if !ok {
		return nil
	}
	if err := r.unpin(ctx, store.Lost, render.WorkerLost()); err != nil || r.held != "" {
		place.Release()
		return err
	}
	r.place = place
	return nil
}

// unpin frees the session of a worker that is gone or lost, and of its thread,
// which only that worker has; one that was moved meanwhile has another worker and
// keeps its thread. It fails only when the store is lost to another gateway; else
// it is tried again.
func (r *runner) unpin(ctx context.Context, why, notice string) error {
	var messages []store.Message
	if r.had != "" {
		messages = say(store.Notice, notice, r.head.MessageID)
	}
	longer, cancel := lifecycle.Outlive(ctx, store.LastWrite)
	defer cancel()
	holder, err := r.m.Store.Unpin(longer, r.head.ID, r.held, why, messages)
	if err != nil {
		_, err = r.storeFailed(ctx, err)
		return err
	}
	if holder != "" {
		r.held = holder
		return nil
	}
	r.m.Meter.Moved(why)
	r.log.Warn("the session's worker is given up; another one may have it", zap.String("worker", r.held), zap.String("because", why))
	r.held, r.had, r.head.ThreadID = "", "", ""
	if len(messages) > 0 {
		r.m.Posted(r.head.ChatID)
	}
	return nil
}

// connect opens a call to the head's worker. A worker that is known to be out of
// reach is not called, so that nothing is left in doubt.
func (r *runner) connect(ctx context.Context, e lane.Effect) []lane.Input {
	client, ok := r.m.Workers.Lookup(r.head.WorkerID)
	if !ok {
		r.refused = nil
		r.patience.failed()
		if r.m.Workers.Gone(r.head.WorkerID) {
			return []lane.Input{{Kind: lane.Failed, Action: lane.InterruptAndUnpin}}
		}
		if r.lost = r.m.Workers.Lost(r.head.WorkerID); r.lost {
			return []lane.Input{{Kind: lane.Failed, Action: lane.Lost}}
		}
		return []lane.Input{{Kind: lane.Failed, Action: lane.Wait}}
	}
	r.accepted = nil
	r.m.Meter.Called(e.String())
	ctx = r.m.Trace.Outgoing(ctx, tracing.Turn(r.head.ID))
	if e == lane.Run {
		r.last, r.reply = 0, reply{}
		r.call = runTurn(ctx, client, r.head, r.m.Turn)
	} else {
		r.call = watchTurn(ctx, client, r.head, r.last)
	}
	return nil
}

// commit writes what an effect says, and reports it where it ends the head.
// Writing is not cut short by the end of the program.
func (r *runner) commit(ctx context.Context, e lane.Effect) ([]lane.Input, error) {
	longer, cancel := lifecycle.Outlive(ctx, store.LastWrite)
	defer cancel()
	if err := r.write(longer, e); err != nil {
		return r.storeFailed(ctx, err)
	}
	switch e {
	case lane.Assign:
		r.patience.answered()
	case lane.Unassign: // back to where it was
	default:
		r.patience.progressed()
	}
	return []lane.Input{{Kind: lane.Committed}}, nil
}

func (r *runner) write(ctx context.Context, e lane.Effect) error {
	st, t := r.m.Store, &r.head
	switch e {
	case lane.Assign:
		if err := st.Assign(ctx, t.ID, r.place.Worker.ID, r.place.Worker.JournalID, r.m.Turn.WorkingDir); err != nil {
			return err
		}
		crashpoint.Here(crashpoint.Assigned)
		t.AssignedAt = time.Now()
		if t.Attempt == 1 {
			r.m.Meter.Assigned(t.ReceivedAt)
		}
		t.WorkerID, t.JournalID, t.WorkingDir = r.place.Worker.ID, r.place.Worker.JournalID, r.m.Turn.WorkingDir
		r.traceQueue()
		r.log.Info("turn assigned", zap.String("turn_id", t.ID), zap.String("worker", t.WorkerID))
	case lane.Unassign:
		if err := st.Unassign(ctx, t.ID); err != nil {
			return err
		}
		t.WorkerID, t.JournalID, t.WorkingDir, t.AssignedAt = "", "", "", time.Time{}
		r.place.Release()
		r.place = nil
	case lane.Accept:
		if err := st.Accept(ctx, t.ID, r.accepted.GetJournalId()); err != nil {
			return err
		}
		crashpoint.Here(crashpoint.Accepted)
		t.JournalID = r.accepted.GetJournalId()
	case lane.Name:
		// Where another thread is given up for this one, the person is told now.
		if err := st.SetThread(ctx, t.ID, r.thread, say(store.Notice, render.ThreadNotResumable(), t.MessageID)...); err != nil {
			return err
		}
		if t.Attempt > 1 {
			r.m.Posted(t.ChatID)
		}
		crashpoint.Here(crashpoint.Named)
		t.ThreadID = r.thread
	case lane.Park:
		return st.Park(ctx, r.session)
	case lane.Renew:
		return st.Renew(ctx, t.Key)
	case lane.Postpone:
		return r.postpone(ctx)
	case lane.Renumber:
		_, err := st.Postpone(ctx, t.ID, store.Outcome{Name: failed, ErrorCode: cycle.CodexContract,
			ErrorMessage: renumberedMessage, Absent: true})
		if err == nil {
			r.m.Meter.Again(meters.Renumbered)
			r.traceTurn(failed, cycle.CodexContract)
		}
		return err
	default:
		return r.settle(ctx, e)
	}
	return nil
}

// postpone writes that the head was not started. It stays in the lane.
func (r *runner) postpone(ctx context.Context) error {
	outcome, _ := r.finish()
	if _, err := r.m.Store.Postpone(ctx, r.head.ID, outcome); err != nil {
		return err
	}
	r.m.Meter.Again(meters.NotStarted)
	r.traceTurn(outcome.Name, outcome.ErrorCode)
	r.postponed.times++
	r.postponed.message = outcome.ErrorMessage
	r.log.Warn("Codex could not be started; the turn is tried again later", zap.String("turn_id", r.head.ID),
		zap.Int("times", r.postponed.times))
	return nil
}

// settle writes the end of the head.
func (r *runner) settle(ctx context.Context, e lane.Effect) error {
	st, t := r.m.Store, r.head
	outcome, messages := r.ending(e)
	var err error
	switch e {
	case lane.Finish, lane.FinishRefused, lane.FinishAbsent, lane.FinishCancelled:
		var next store.Lane
		if next, err = st.Finish(ctx, t.ID, outcome, messages); err == nil {
			r.ahead = &next
		}
	case lane.Interrupt, lane.InterruptUnpin:
		err = st.Interrupt(ctx, t.ID, e == lane.InterruptUnpin, outcome, messages)
		r.head.State = store.Interrupted // for whom it is acknowledged to
	case lane.Restart:
		_, err = st.Restart(ctx, t.ID)
	case lane.SettleNew:
		err = st.SettleCommand(ctx, t.Key, true, messages)
	}
	if err != nil {
		return err
	}
	r.postponed = postponed{}
	crashpoint.Here(crashpoint.Settled)
	r.log.Info("turn settled", zap.String("turn_id", t.ID), zap.String("as", e.String()), zap.String("outcome", outcome.Name),
		zap.String("code", outcome.ErrorCode))
	switch e {
	case lane.Restart:
		r.m.Meter.Again(meters.NotResumable)
		r.traceTurn(failed, meters.NotResumable)
	case lane.SettleNew:
		r.m.cancelDone(t.Key)
	default:
		r.m.Meter.Settled(outcome.Name, t.ReceivedAt)
		r.traceTurn(outcome.Name, outcome.ErrorCode)
		r.m.cancelDone(t.Key)
	}
	if len(messages) > 0 {
		r.m.Posted(t.ChatID)
	}
	// What has messages is settled by the last of them.
	interrupted := e == lane.Interrupt || e == lane.InterruptUnpin
	if silent := len(messages) == 0 && e != lane.Restart; interrupted || silent {
		r.m.settled(t.Key, t.SessionID, outcome)
		if !interrupted { // of that one, the person decides
			r.m.traceUpdate(t.Key, t.Kind, outcome.Name, t.ReceivedAt)
		}
	}
	return nil
}

// report says of everything that waits in the lane that it has to, and tells the
// person so, once, where that is wished. All of it stays in the store.
func (r *runner) report(ctx context.Context) {
	ctx, cancel := lifecycle.Outlive(ctx, store.LastWrite)
	defer cancel()
	work, err := r.m.Store.OpenWork(ctx, r.session)
	if err != nil {
		r.log.Error("store failed", zap.Error(err))
		return
	}
	if r.state.Phase == lane.Holding { // the person was told so with the question
		r.log.Info("the turns wait for a decision about an interrupted one", zap.Int("turns", len(work)), zap.Time("since", r.since))
		for _, u := range work {
			r.m.left(u.Key, u.SessionID, cycle.TurnInterrupted, heldMessage)
		}
		return
	}
	why, notice := r.obstacle()
	r.log.Warn("no progress; the turns stay stored", zap.String("worker", r.head.WorkerID), zap.Int("turns", len(work)), zap.String("why", why))
	for _, u := range work {
		r.m.left(u.Key, u.SessionID, cycle.CodexExecFailed, why)
	}
	if !r.m.Notify {
		return
	}
	if told, err := r.m.Store.Tell(ctx, r.session, notice); err != nil {
		r.log.Error("store failed", zap.Error(err))
	} else if told {
		r.m.Posted(r.head.ChatID)
	}
}

// obstacle is what the lane waits for, for a report and for a person.
func (r *runner) obstacle() (why, notice string) {
	switch reason := rpc.ReasonOf(r.refused); {
	case r.resting():
		return r.postponed.message, render.NotStarted()
	case reason != 0:
		return refusesMessage + rpc.ReasonName(reason), render.WorkerAway()
	case r.m.Workers.Draining(r.held):
		return drainingMessage, render.WorkerDraining()
	}
	return unreachableMessage, render.WorkerAway()
}
