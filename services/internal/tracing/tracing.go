// Package tracing tells an OpenTelemetry collector (OTLP over gRPC) how long the
// steps of an update took, in both services, as one trace.
//
// Every span is recorded when it is over. The ids of the trace, of its root and of
// its turns follow from the names of the update and the turn: so whatever process
// records a step, before or after a crash, puts it in the same place, and nothing
// of a trace has to be stored. Spans hold times, ids of updates, turns and workers,
// and words of closed lists.
//
// A nil *Tracer records nothing.
package tracing

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// Options say where spans go.
type Options struct {
	// Endpoint is the collector, see CheckEndpoint; empty: nothing is traced.
	Endpoint string
	// Service is the program's name; Instance tells it from others of that name.
	Service, Instance string
	Log               *zap.Logger
}

// Tracer records spans.
type Tracer struct {
	exporter sdktrace.SpanExporter
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// CheckEndpoint says whether text names a collector: http://host:port for a
// connection in plaintext, https://host:port for TLS. What it refuses it does not
// repeat: people put passwords into URLs.
func CheckEndpoint(text string) error {
	u, err := url.Parse(text)
	if err == nil {
		_, _, err = net.SplitHostPort(u.Host)
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must be http://host:port or https://host:port")
	}
	return nil
}

// New returns a tracer, nil when there is no endpoint. Nothing waits for the
// collector: what it does not take in time is dropped. What else the exporter can
// be told (headers, certificates), it reads from the variables OTEL_EXPORTER_OTLP_*
// that OpenTelemetry has for it.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	otel.SetErrorHandler(&complaints{log: o.Log})
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(o.Endpoint), otlptracegrpc.WithDialOption(grpc.WithNoProxy()))
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.AlwaysSample()),
		sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", o.Service), attribute.String("service.instance.id", o.Instance))),
	)
	return &Tracer{exporter: exporter, provider: provider, tracer: provider.Tracer("telecodex.dev/services")}, nil
}

// Close sends what is recorded, for as long as ctx allows.
func (t *Tracer) Close(ctx context.Context) {
	if t == nil {
		return
	}
	// That not everything could be sent, the error handler was told. Then the
	// exporter still tries, until it is stopped as well.
	_, _ = t.provider.Shutdown(ctx), t.exporter.Shutdown(ctx)
}

// Parent is the span that another one belongs to.
type Parent = trace.SpanContext

// Span is a step that is over.
type Span struct {
	Name       string
	ID         trace.SpanContext // its own; zero: of no importance
	Parent     Parent            // zero: it is the root
	Start, End time.Time
	// Failed says that the step did not lead to what it was for.
	Failed bool
	// Calls: the step was a call of another service.
	Calls      bool
	Attributes Attributes
}

// Record records a span.
func (t *Tracer) Record(s Span) {
	if t == nil {
		return
	}
	ctx := context.WithValue(context.Background(), own{}, s.ID)
	if s.Parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, s.Parent)
	}
	kind := trace.SpanKindInternal
	if s.Calls {
		kind = trace.SpanKindClient
	}
	_, span := t.tracer.Start(ctx, s.Name, trace.WithTimestamp(s.Start), trace.WithSpanKind(kind), trace.WithAttributes(s.Attributes...))
	if s.Failed {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(s.End))
}

// Update is the root span of an update, by its name "{bot}-{generation}-{update}".
func Update(name string) trace.SpanContext { return spanOf(name, name) }

// Turn is the span of an attempt at an update, by the turn's id
// "{bot}-{generation}-{update}-{attempt}". What does not look like one has a trace
// of its own.
func Turn(id string) trace.SpanContext {
	update := id
	for i := len(id) - 1; i >= 0; i-- {
		if id[i] == '-' {
			update = id[:i]
			break
		}
	}
	return spanOf(update, id)
}

// spanOf derives the ids: of the trace, the first 16 bytes of SHA-256 of the
// update's name; of the span, the first 8 of that of "span " and its own.
func spanOf(update, span string) trace.SpanContext {
	sum, own := sha256.Sum256([]byte(update)), sha256.Sum256([]byte("span "+span))
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(sum[:16]), SpanID: trace.SpanID(own[:8]),
		TraceFlags: trace.FlagsSampled, Remote: true})
}

// own is the key of the span context that a span is to have.
type own struct{}

// ids gives spans the ids they are to have, others random ones.
type ids struct{}

// NewIDs implements sdktrace.IDGenerator, for a root.
func (i ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if sc, ok := ctx.Value(own{}).(trace.SpanContext); ok && sc.IsValid() {
		return sc.TraceID(), sc.SpanID()
	}
	var traceID trace.TraceID
	fill(traceID[:])
	return traceID, i.NewSpanID(context.Background(), traceID)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if sc, ok := ctx.Value(own{}).(trace.SpanContext); ok && sc.HasSpanID() {
		return sc.SpanID()
	}
	var spanID trace.SpanID
	fill(spanID[:])
	return spanID
}

func fill(bytes []byte) {
	for i := range bytes {
		bytes[i] = byte(rand.Uint32())
	}
}

// complaints logs what OpenTelemetry has to say, which is the same again and again
// while a collector is away.
type complaints struct {
	log  *zap.Logger
	last atomic.Int64
}

const complainEvery = time.Minute

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	now := time.Now().UnixNano()
	if last := c.last.Load(); last == 0 || now-last >= int64(complainEvery) {
		if c.last.CompareAndSwap(last, now) {
			c.log.Warn("traces could not be sent", zap.Error(err))
		}
	}
}
