package dispatch

import (
	"time"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/tracing"
)

// traceQueue records how long an attempt has waited for its worker.
func (r *runner) traceQueue() {
	t := r.head
	since := t.CreatedAt
	if t.Attempt == 1 {
		since = t.ReceivedAt
	}
	r.m.Trace.Record(tracing.Span{Name: "queue", Parent: tracing.Update(r.m.Store.Name(t.Key)), Start: since, End: t.AssignedAt,
		Attributes: tracing.Attributes{tracing.InTurn(t.ID), tracing.Attempt(t.Attempt)}})
}

// traceTurn records an attempt that a worker had, from its choice until its end was
// stored. One that no worker had was over at once.
func (r *runner) traceTurn(outcome, code string) {
	t := r.head
	if t.AssignedAt.IsZero() {
		return
	}
	r.m.Trace.Record(tracing.Span{Name: "turn", ID: tracing.Turn(t.ID), Parent: tracing.Update(r.m.Store.Name(t.Key)),
		Start: t.AssignedAt, End: time.Now(), Failed: outcome == failed || outcome == interrupted,
		Attributes: tracing.Attributes{tracing.InTurn(t.ID), tracing.At(t.WorkerID), tracing.Attempt(t.Attempt), tracing.Became(outcome),
			tracing.Because(code), tracing.Events(r.last)}})
}

// traceUpdate records an update that nothing is sent for any more: the root.
func (m *Manager) traceUpdate(key store.Key, kind store.Kind, outcome string, received time.Time) {
	name := m.Store.Name(key)
	m.Trace.Record(tracing.Span{Name: "update", ID: tracing.Update(name), Start: received, End: time.Now(),
		Attributes: tracing.Attributes{tracing.InUpdate(name), tracing.OfKind(string(kind)), tracing.Became(outcome)}})
}
