package tracing_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/metadata"

	"telecodex.dev/services/internal/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckEndpoint(t *testing.T) {
	for text, ok := range map[string]bool{"http://127.0.0.1:4317": true, "https://collector.example:4317": true, "http://[::1]:4317": true,
		"": false, "collector:4317": false, "grpc://collector:4317": false, "http://collector": false, "http://collector:4317/v1/traces": false,
		"http://user:secret@collector:4317": false, "http://collector:4317?x=y": false} {
		if err := tracing.CheckEndpoint(text); (err == nil) != ok {
			t.Errorf("CheckEndpoint(%q) = %v", text, err)
		}
	}
}

func TestWhatIsNotConfiguredRecordsNothing(t *testing.T) {
	tracer, err := tracing.New(t.Context(), tracing.Options{})
	if tracer != nil || err != nil {
		t.Fatalf("New() = %v, %v", tracer, err)
	}
	tracer.Record(tracing.Span{Name: "x"})
	if ctx := t.Context(); tracer.Outgoing(ctx, tracing.Turn("1-1-1-1")) != ctx || tracer.Incoming(ctx).IsValid() {
		t.Error("something is carried")
	}
	tracer.Close(t.Context())
}

// Nobody listens at the endpoint: nothing waits for it, and the log says so once.
func TestACollectorThatIsAwayHoldsNothingUp(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	tracer, err := tracing.New(t.Context(), tracing.Options{Endpoint: "http://127.0.0.1:1", Service: "s", Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 10_000 {
		tracer.Record(tracing.Span{Name: "x", Start: began, End: began})
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("recording took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	tracer.Close(ctx)
	if logs.Len() > 1 {
		t.Errorf("%d lines: %v", logs.Len(), logs.All())
	}
}

func TestATurnBelongsToItsUpdateInBothServices(t *testing.T) {
	tracer, err := tracing.New(t.Context(), tracing.Options{Endpoint: "http://127.0.0.1:1", Service: "s", Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close(t.Context()) // nothing was recorded
	update, turn, again := tracing.Update("10-1-7"), tracing.Turn("10-1-7-1"), tracing.Turn("10-1-7-2")
	if update.TraceID() != turn.TraceID() || turn.TraceID() != again.TraceID() {
		t.Error("a turn is in another trace than its update")
	}
	if turn.SpanID() == again.SpanID() || turn.SpanID() == update.SpanID() {
		t.Error("two spans have one id")
	}
	if tracing.Update("10-1-8").TraceID() == update.TraceID() {
		t.Error("two updates have one trace")
	}
	out, _ := metadata.FromOutgoingContext(tracer.Outgoing(t.Context(), turn))
	in := tracer.Incoming(metadata.NewIncomingContext(t.Context(), out))
	if !in.IsSampled() || in.TraceID() != turn.TraceID() || in.SpanID() != turn.SpanID() {
		t.Errorf("%v arrives as %v", turn, in)
	}
	for _, header := range []string{"", "garbage", "00-0-0-01"} {
		if got := tracer.Incoming(metadata.NewIncomingContext(t.Context(), metadata.Pairs("traceparent", header))); got.IsValid() {
			t.Errorf("%q is taken for %v", header, got)
		}
	}
}
