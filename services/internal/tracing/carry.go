package tracing

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

// header carries a span to the other service, as W3C Trace Context has it.
const header = "traceparent"

// Outgoing has the calls made with a context belong to a span.
func (t *Tracer) Outgoing(ctx context.Context, parent trace.SpanContext) context.Context {
	if t == nil {
		return ctx
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithRemoteSpanContext(ctx, parent), carrier)
	return metadata.AppendToOutgoingContext(ctx, header, carrier.Get(header))
}

// Incoming is the span that a call belongs to; zero: its caller named none.
func (t *Tracer) Incoming(ctx context.Context) trace.SpanContext {
	values := metadata.ValueFromIncomingContext(ctx, header)
	if t == nil || len(values) != 1 {
		return trace.SpanContext{}
	}
	carried := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{header: values[0]})
	return trace.SpanContextFromContext(carried)
}
