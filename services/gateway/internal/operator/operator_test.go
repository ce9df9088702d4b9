package operator

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves a config over a real connection.
func serve(t *testing.T, config Config) gatewayv1.GatewayServiceClient {
	t.Helper()
	lis, err := rpc.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := rpc.NewServer(rpc.ServerOptions{Log: zap.NewNop()})
	gatewayv1.RegisterGatewayServiceServer(server, New(config))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, lis, time.Millisecond) }()
	conn, err := rpc.Dial(lis.Addr().String(), rpc.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, conn.Close()); err != nil {
			t.Error(err)
		}
	})
	return gatewayv1.NewGatewayServiceClient(conn)
}

// working is the config of a gateway that knows its bot.
func working(w Work) Config { return Config{Work: func() *Work { return &w }} }

func openStore(t *testing.T) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "gateway.db"), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := db.Acquire(t.Context(), store.Bot{ID: 7, Username: "b", Fingerprint: "f"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func prompt(id, chatID int64) store.NewUpdate {
	return store.NewUpdate{UpdateID: id, Kind: store.KindPrompt, State: store.Queued, Digest: fmt.Sprint(id), SessionID: fmt.Sprint("telegram:", chatID),
		ChatID: chatID, MessageID: id, Private: true, Text: "x", Date: time.Now()}
}

func TestSessionsComeInPages(t *testing.T) {
	s := openStore(t)
	var updates []store.NewUpdate
	for i := range int64(7) {
		updates = append(updates, prompt(100+i, 1+i))
	}
	if _, err := s.Ingest(t.Context(), updates, time.Now()); err != nil {
		t.Fatal(err)
	}
	client := serve(t, working(Work{Store: s}))
	for _, tt := range []struct {
		size  int32
		pages int
	}{{0, 1}, {1, 7}, {3, 3}, {7, 1}, {2000, 1}} {
		t.Run(fmt.Sprint("page size ", tt.size), func(t *testing.T) {
			var ids []string
			pages := 0
			for token := ""; pages == 0 || token != ""; pages++ {
				page, err := client.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{PageSize: tt.size, PageToken: token})
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range page.GetSessions() {
					ids = append(ids, x.GetSessionId())
				}
				token = page.GetNextPageToken()
			}
			if pages != tt.pages || len(ids) != 7 || ids[0] != "telegram:1" || ids[6] != "telegram:7" {
				t.Errorf("%d pages of %v", pages, ids)
			}
		})
	}
}

func TestTheTraceOfAnUnknownUpdateSpeaksOfNoTurn(t *testing.T) {
	client := serve(t, working(Work{Store: openStore(t), LastPoll: func() time.Time { return time.Time{} }}))
	_, err := client.GetUpdateTrace(t.Context(), &gatewayv1.GetUpdateTraceRequest{UpdateId: 404})
	if status.Code(err) != codes.NotFound || rpc.ReasonOf(err) != diagnosticsv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		t.Errorf("%v, reason %v", err, rpc.ReasonOf(err))
	}
}

func TestDecisionsAreTranslated(t *testing.T) {
	var asked string
	client := serve(t, working(Work{Resolve: func(_ context.Context, turnID, choice string) (store.Resolved, error) {
		asked = choice
		switch turnID {
		case "running":
			return store.Resolved{}, &store.StateError{What: "turn running", Want: "INTERRUPTED", Have: "ACCEPTED"}
		case "broken":
			return store.Resolved{}, errors.New("disk full")
		}
		return store.Resolved{Choice: store.Again, Applied: false, Next: &store.Turn{ID: "next"}}, nil
	}}))
	for resolution, choice := range choices() {
		r, err := client.ResolveTurn(t.Context(), &gatewayv1.ResolveTurnRequest{TurnId: "x", Resolution: resolution})
		if err != nil || asked != choice || r.GetResolution() != gatewayv1.Resolution_RESOLUTION_RUN_AGAIN || r.GetApplied() || r.GetNextTurnId() != "next" {
			t.Errorf("%v: asked %q, %v, %v", resolution, asked, r, err)
		}
	}
	for id, code := range map[string]codes.Code{"running": codes.FailedPrecondition, "broken": codes.Internal} {
		_, err := client.ResolveTurn(t.Context(), &gatewayv1.ResolveTurnRequest{TurnId: id, Resolution: gatewayv1.Resolution_RESOLUTION_DROP})
		if status.Code(err) != code {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestRunCycleFollowsTheCycleItAskedFor(t *testing.T) {
	cycles := NewCycles()
	tracker := cycle.NewTracker(func(*telemetryv1.CycleReport) {}, cycle.Options{Progress: cycles.Progress})
	old := tracker.Begin(time.Now()) // a long poll is under way
	asked := make(chan struct{}, 1)
	client := serve(t, Config{Cycles: cycles, PollNow: func() { asked <- struct{}{} }})
	stream, err := client.RunCycle(t.Context(), &gatewayv1.RunCycleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	<-asked
	old.Empty(0)
	given := tracker.Begin(time.Now()) // begun as the call arrived, and given up for it
	given.Empty(0)
	fresh := tracker.Begin(time.Now())
	key := store.Key{Generation: 1, UpdateID: 5}
	fresh.Fetched(cycle.Batch{Handed: []store.Update{{Key: key}}})
	tracker.Settled(key, "telegram:1", cycle.Result{Sent: true})
	var phases []string
	for {
		step, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r := step.GetReport(); r != nil {
			if r.GetFetchedCount() != 1 || r.GetSentCount() != 1 {
				t.Errorf("report = %v", r)
			}
			break
		}
		phases = append(phases, step.GetProgress().GetPhase())
	}
	if len(phases) < 3 || phases[0] != "polling" || phases[len(phases)-1] != "processing" {
		t.Errorf("phases = %v", phases)
	}
}

func TestAWatcherThatIsTooSlowIsCutOff(t *testing.T) {
	cycles := NewCycles()
	w := cycles.watch()
	for range maxBehind + 1 {
		cycles.Progress(cycle.Progress{Cycle: 1})
	}
	if _, err := w.next(t.Context()); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v", err)
	}
	if len(cycles.watchers) != 0 {
		t.Error("it is still fed")
	}
}
