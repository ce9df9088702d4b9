package gateway

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/store/storetest"
	"telecodex.dev/services/internal/bound"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/telegramsim"
)

// botID is that of telegramsim.DefaultToken.
const botID = 1000000

// BenchmarkRestart is how long a gateway takes from its start to its first poll
// where 100,000 updates are settled and 1,000 wait, each in a session of its own,
// for a worker that is away.
func BenchmarkRestart(b *testing.B) {
	const settled, waiting = 100_000, 1_000
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{FirstUpdateID: settled + waiting + 2})
	if err != nil {
		b.Fatal(err)
	}
	defer sim.Close()
	away, err := freeport.Addr()
	if err != nil {
		b.Fatal(err)
	}
	c := defaults()
	c.Token, c.APIURL, c.AllowedChatIDs = func() string { return telegramsim.DefaultToken }, sim.URL, []string{"1"}
	c.OrchestratorAddrs, c.Store = []string{away}, filepath.Join(b.TempDir(), "gateway.db")
	c.ListenAddr, c.MetricsAddr, c.CursorStatePath = "", "", ""
	served(b, c.Store, settled, waiting)
	var sum time.Duration
	for b.Loop() {
		before := sim.State().Polls
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		began := time.Now()
		go func() { done <- Run(ctx, c) }()
		if _, err := sim.WaitForState(ctx, func(s telegramsim.State) bool { return s.Polls > before }); err != nil {
			b.Fatal(err)
		}
		sum += time.Since(began)
		stop()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	bound.Bound{Unit: "s", Limit: 2}.Report(b, sum.Seconds()/float64(b.N))
}

// BenchmarkTakeover is how long nobody polls when the gateway that serves is killed
// and another one stands by, with the lease as it is shipped.
func BenchmarkTakeover(b *testing.B) {
	for name, at := range map[string]struct {
		dsn   func(testing.TB) string
		limit time.Duration
	}{
		"sqlite":   {func(b testing.TB) string { return filepath.Join(b.TempDir(), "gateway.db") }, 2 * time.Second},
		"postgres": {server.URL, store.DefaultTTL + 2*time.Second},
	} {
		b.Run(name, func(b *testing.B) {
			sim, dsn := simulate(b), at.dsn(b)
			serves := spawn(b, sim, dsn, store.DefaultTTL)
			serves.is(b, "serves", serving)
			var sum time.Duration
			for b.Loop() {
				next := spawn(b, sim, dsn, store.DefaultTTL)
				next.is(b, "stands by", standing)
				died, polls := time.Now(), sim.State().Polls
				if err := serves.cmd.Process.Kill(); err != nil {
					b.Fatal(err)
				}
				if _, err := sim.WaitForState(b.Context(), func(s telegramsim.State) bool { return s.Polls > polls }); err != nil {
					b.Fatal(err)
				}
				sum += time.Since(died)
				serves = next
			}
			b.ReportMetric(0, "ns/op")
			bound.Bound{Unit: "s", Limit: at.limit.Seconds()}.Report(b, sum.Seconds()/float64(b.N))
		})
	}
}

// served makes a store that has served for long.
func served(b *testing.B, path string, settled, waiting int) {
	b.Helper()
	ctx := b.Context()
	on := func(work func(*store.Store) error) {
		b.Helper()
		db, err := store.Open(ctx, path, zap.NewNop())
		if err != nil {
			b.Fatal(err)
		}
		s, err := db.Acquire(ctx, store.Bot{ID: botID, Fingerprint: store.Fingerprint(telegramsim.DefaultToken)}, nil)
		if err == nil {
			err = work(s)
		}
		if err := errors.Join(err, db.Close()); err != nil {
			b.Fatal(err)
		}
	}
	turn := store.TurnID(botID, store.Key{Generation: 1, UpdateID: 1}, 1)
	on(func(s *store.Store) error {
		_, err := s.Ingest(ctx, []store.NewUpdate{{UpdateID: 1, Kind: store.KindPrompt, State: store.Queued, SessionID: "telegram:1", ChatID: 1,
			Digest: "digest", Private: true, Text: "a message of a usual length, say this one", Date: time.Now()}}, time.Now())
		return err
	})
	if err := storetest.Fill(ctx, path, 2, waiting, waiting); err != nil {
		b.Fatal(err)
	}
	on(func(s *store.Store) error {
		if err := s.Assign(ctx, turn, "worker", "journal", ""); err != nil {
			return err
		}
		answer := []store.Message{{Kind: store.Answer, Text: "an answer of a usual length, say this one"}}
		if _, err := s.Finish(ctx, turn, store.Outcome{Name: "succeeded"}, answer); err != nil {
			return err
		}
		m, _, err := s.NextMessage(ctx, 1)
		if err != nil {
			return err
		}
		if err := s.MarkSending(ctx, m.ID); err != nil {
			return err
		}
		if _, err = s.MarkSent(ctx, m.ID, 1, time.Now()); err != nil {
			return err
		}
		return s.Acknowledged(ctx, turn)
	})
	if err := storetest.Fill(ctx, path, waiting+2, settled-1, waiting); err != nil {
		b.Fatal(err)
	}
	on(func(s *store.Store) error {
		stats, err := s.Stats(ctx)
		if err == nil && stats.Queued != waiting {
			b.Fatalf("%d updates wait", stats.Queued)
		}
		return err
	})
}
