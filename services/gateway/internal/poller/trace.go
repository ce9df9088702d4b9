package poller

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/tracing"
)

// note says of every update that is stored now under which name it is to be found,
// in the logs of both services and in its trace. Of one that nothing is done for,
// the trace ends here.
func (p *Poller) note(stored []store.Update, began time.Time) {
	for _, u := range stored {
		name, state := p.Store.Name(u.Key), strings.ToLower(string(u.State))
		p.Log.Info("update stored", zap.String("update", name), zap.String("kind", string(u.Kind)), zap.String("state", state))
		now := time.Now()
		p.Trace.Record(tracing.Span{Name: "receive", Parent: tracing.Update(name), Start: began, End: now})
		if u.State != store.Queued {
			p.Trace.Record(tracing.Span{Name: "update", ID: tracing.Update(name), Start: began, End: now, Attributes: tracing.Attributes{
				tracing.InUpdate(name), tracing.OfKind(string(u.Kind)), tracing.Became(state)}})
		}
	}
}
