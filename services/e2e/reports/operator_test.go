package reports

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
)

// serve starts a gateway that goes on, and returns a client of its operator API.
func (g *gateway) serve(ctx context.Context, env ...string) (*harness.Process, gatewayv1.GatewayServiceClient) {
	g.t.Helper()
	addr, err := freeport.Addr()
	if err != nil {
		g.t.Fatal(err)
	}
	conn := g.dial(addr)
	p := g.start(nil, append(env, "CHANNEL_LISTEN_ADDR="+addr)...)
	client := gatewayv1.NewGatewayServiceClient(conn)
	if _, err := client.GetStatus(ctx, &gatewayv1.GetStatusRequest{}, grpc.WaitForReady(true)); err != nil {
		g.t.Fatalf("%v: %s", err, p.Stderr())
	}
	return p, client
}

func (g *gateway) dial(addr string) *grpc.ClientConn {
	g.t.Helper()
	conn, err := harness.Dial(addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			g.t.Error(err)
		}
	})
	return conn
}

// TestReportsAreTheSameEverywhere: on standard output, in WatchCycles, and at the
// end of RunCycle.
func TestReportsAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g := newGateway(t, 0)
	url, _ := receive(t, false)
	p, client := g.serve(ctx, "CHANNEL_HEARTBEAT_URL="+url, "CHANNEL_ALLOWED_CHAT_IDS=1000,1001")
	watch, err := client.WatchCycles(ctx, &gatewayv1.WatchCyclesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Header(); err != nil { // now it watches
		t.Fatal(err)
	}
	var watched []*telemetryv1.CycleReport
	next := func() *telemetryv1.CycleReport {
		t.Helper()
		r, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		watched = append(watched, r.GetReport())
		return r.GetReport()
	}
	g.say("hello")
	if r := next(); r.GetReason() != "processed" || r.GetSentCount() != 1 {
		t.Errorf("report %v", r)
	}
	g.say("!scenario turn_failed\nhello")
	if r := next(); r.GetReason() != "completed-with-errors" || r.GetTelemetry().GetHeartbeat().GetEmitState() != "emitted" {
		t.Errorf("report %v", r)
	}
	ran := runCycle(ctx, t, client)
	if r := next(); !proto.Equal(r, ran) || r.GetReason() != "no-updates" {
		t.Errorf("WatchCycles sends %v, RunCycle %v", r, ran)
	}
	if err := p.Stop(patience); err != nil {
		t.Fatal(err)
	}
	var printed []*telemetryv1.CycleReport
	for line := range strings.Lines(p.Stdout()) {
		printed = append(printed, reportOf(t, line))
	}
	if !slices.EqualFunc(watched, printed, func(a, b *telemetryv1.CycleReport) bool { return proto.Equal(a, b) }) {
		t.Errorf("printed %v, watched %v", printed, watched)
	}
}

// runCycle asks for a poll and returns its report, which has to come last.
func runCycle(ctx context.Context, t *testing.T, client gatewayv1.GatewayServiceClient) (report *telemetryv1.CycleReport) {
	t.Helper()
	stream, err := client.RunCycle(ctx, &gatewayv1.RunCycleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for report == nil {
		step, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		report = step.GetReport()
	}
	if step, err := stream.Recv(); err == nil {
		t.Errorf("after the report: %v", step)
	}
	return report
}

// TestAnUpdateCanBeFollowed by its id: through the inbox, its turn, the Codex
// thread, the outbox and the message that Telegram has.
func TestAnUpdateCanBeFollowed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g := newGateway(t, 0)
	_, client := g.serve(ctx)
	in := g.say("hello")
	messages, err := g.sim.WaitForMessages(ctx, chat, 1)
	if err != nil {
		t.Fatal(err)
	}
	trace := &gatewayv1.GetUpdateTraceResponse{}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for trace.GetState() != "DELIVERED" { // Telegram has the message before the store knows
		if trace, err = client.GetUpdateTrace(ctx, &gatewayv1.GetUpdateTraceRequest{UpdateId: in.UpdateID}); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
	if len(trace.GetTurns()) != 1 || len(trace.GetOutbox()) != 1 {
		t.Fatalf("trace %s", protojson.Format(trace))
	}
	turn, sent := trace.GetTurns()[0], trace.GetOutbox()[0]
	bot, _, _ := strings.Cut(g.token, ":")
	if trace.GetUpdateId() != in.UpdateID || trace.GetSessionId() != "telegram:1000" || trace.GetReceivedAt() == nil ||
		turn.GetTurnId() != fmt.Sprintf("%s-%d-%d-1", bot, trace.GetGeneration(), in.UpdateID) || turn.GetState() != "FINISHED" ||
		turn.GetOutcome() != "succeeded" || sent.GetState() != "SENT" || sent.GetKind() != "answer" || sent.GetMessageId() != messages[0].MessageID {
		t.Errorf("trace %s of %v", protojson.Format(trace), messages)
	}
	// The worker knows the turn by the same id, and the same thread.
	worker := orchestratorv1.NewOrchestratorServiceClient(g.dial(shared.worker.Addr))
	known, err := worker.GetTurn(ctx, &orchestratorv1.GetTurnRequest{TurnId: turn.GetTurnId()})
	if err != nil || known.GetTurn().GetThreadId() == "" || known.GetTurn().GetThreadId() != turn.GetThreadId() {
		t.Errorf("%v, %v; the trace says %v", known, err, turn)
	}
}
