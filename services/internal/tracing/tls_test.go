package tracing_test

import (
	"context"
	"net"
	"testing"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"telecodex.dev/services/internal/certtest"
	"telecodex.dev/services/internal/tracing"
)

// strict takes spans from those who show a token.
type strict struct {
	collectorv1.UnimplementedTraceServiceServer
	spans chan string // names, and the tokens they came with
}

func (s *strict) Export(ctx context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, resource := range r.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.spans <- span.GetName() + " " + md.Get("authorization")[0]
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// What is documented of OpenTelemetry's own variables holds.
func TestACollectorWithACertificateAndAToken(t *testing.T) {
	authority := certtest.New(t, t.TempDir(), "collectors")
	pair := authority.Issue(certtest.Server, "collector", certtest.Tomorrow(), "127.0.0.1")
	creds, err := credentials.NewServerTLSFromFile(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	collector := &strict{spans: make(chan string, 1)}
	server := grpc.NewServer(grpc.Creds(creds))
	collectorv1.RegisterTraceServiceServer(server, collector)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.File)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret")
	tracer, err := tracing.New(t.Context(), tracing.Options{Endpoint: "https://" + listener.Addr().String(), Service: "s", Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	tracer.Record(tracing.Span{Name: "x", ID: tracing.Update("1-1-1"), Start: time.Now(), End: time.Now()})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tracer.Close(ctx)
	select {
	case got := <-collector.spans:
		if got != "x Bearer secret" {
			t.Errorf("the collector got %q", got)
		}
	default:
		t.Error("the collector got nothing")
	}
}
