package dispatch

import (
	"context"
	"strings"
	"time"

	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
)

// cancelText answers a /cancel whose turn has ended, or that found none.
func cancelText(target store.Turn, found bool) string {
	switch {
	case !found:
		return render.NothingRunning()
	case target.Outcome == cancelled:
		return render.Cancelled()
	}
	return render.AlreadyEnded()
}

// decidedText says which decision holds.
func decidedText(r store.Resolved) string {
	return render.Decided(decisionOf(r.Choice), !r.Applied)
}

func decisionOf(choice string) render.Decision {
	switch choice {
	case store.Resume:
		return render.Resume
	case store.Again:
		return render.Again
	}
	return render.Drop
}

// resumeBegins is how the prompt begins that has Codex go on with a task.
const resumeBegins = "Your last turn on the following task was interrupted and may have partly run. Look at what was done, then finish it:\n\n"

// resumePrompt is what Codex is told when a turn goes on. The task is always
// repeated: whether its thread is still there shows only when Codex is started.
func resumePrompt(t store.Turn) string {
	return resumeBegins + strings.TrimPrefix(t.Prompt, resumeBegins)
}

// status says how a session is.
func (m *Manager) status(ctx context.Context, sessionID string) (s render.SessionStatus, err error) {
	lane, err := m.Store.Load(ctx, sessionID)
	if err != nil {
		return s, err
	}
	work, err := m.Store.OpenWork(ctx, sessionID)
	if err != nil {
		return s, err
	}
	running, ok, err := m.Store.RunningTurn(ctx, sessionID)
	if err != nil {
		return s, err
	}
	if _, s.Interrupted, err = m.Store.InterruptedTurn(ctx, sessionID); err != nil {
		return s, err
	}
	session, err := m.Store.Session(ctx, sessionID)
	s.Waiting, s.ThreadID, s.HeldFor = len(work), session.ThreadID, m.heldFor(lane.HeldSince)
	if s.Running = ok; ok {
		s.Waiting--
		s.RunningFor = time.Since(running.AssignedAt)
	}
	s.WorkerUnreachable = m.Workers != nil && m.Workers.Missed(session.WorkerID)
	s.WorkerDraining = m.Workers != nil && m.Workers.Draining(session.WorkerID)
	return s, err
}

// heldFor is how long what an interrupted turn holds back since then waits for a
// decision at most; 0: no longer. The clock may have been set back meanwhile.
func (m *Manager) heldFor(since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return min(max(time.Until(since.Add(m.InterruptedWait)), 0), m.InterruptedWait)
}
