package delivery

import (
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/meters"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/tracing"
)

// named names a message's update in a log line.
func (s *Sender) named(o store.Outgoing) zap.Field { return zap.String("update", s.Store.Name(o.Key)) }

// traceSend records a call that sends a message.
func (c *chat) traceSend(o store.Outgoing, outcome string, began time.Time) {
	c.Trace.Record(tracing.Span{Name: "send", Parent: tracing.Update(c.Store.Name(o.Key)), Start: began, End: time.Now(),
		Calls: true, Failed: outcome != meters.Sent,
		Attributes: tracing.Attributes{tracing.OfKind(o.Kind), tracing.Became(outcome), tracing.Attempt(o.Attempts)}})
}

// traceUpdate records an update that nothing is left to be sent for: the root.
func (c *chat) traceUpdate(r store.SentResult) {
	name := c.Store.Name(r.Key)
	outcome := r.Outcome.Name // empty for a command
	if outcome == "" {
		outcome = "answered"
	}
	c.Trace.Record(tracing.Span{Name: "update", ID: tracing.Update(name), Start: r.ReceivedAt, End: time.Now(),
		Attributes: tracing.Attributes{tracing.InUpdate(name), tracing.Became(outcome)}})
}
