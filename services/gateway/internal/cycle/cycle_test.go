package cycle_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
)

var update = flag.Bool("update", false, "rewrite the golden reports")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a tracker whose reports are kept.
type stage struct {
	*cycle.Tracker
	mu      sync.Mutex
	reports []*telemetryv1.CycleReport
	steps   []cycle.Progress
}

func newStage() *stage {
	s := &stage{}
	s.Tracker = cycle.NewTracker(func(r *telemetryv1.CycleReport) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reports = append(s.reports, r)
	}, cycle.Options{
		Gauges:   func() (int, int) { return 3, 1 },
		Progress: func(p cycle.Progress) { s.steps = append(s.steps, p) },
		// Under the other policy nothing is ever left.
		OnSuccess: true,
	})
	return s
}

func key(id int64) store.Key { return store.Key{Generation: 1, UpdateID: id} }

func handed(ids ...int64) (updates []store.Update) {
	for _, id := range ids {
		updates = append(updates, store.Update{Key: key(id), Kind: store.KindPrompt, State: store.Queued, ChatID: 1000, SessionID: "telegram:1000"})
	}
	return updates
}

func refused(id int64) []store.Update {
	return []store.Update{{Key: key(id), State: store.Dropped, ChatID: 1000, Reason: "chat_id not allowlisted (1000)"}}
}

// TestReports plays a cycle for each golden report, in virtual time: the fetch
// takes 40 ms and each result comes 1 s later.
func TestReports(t *testing.T) {
	const fetch = 40 * time.Millisecond
	settle := func(s *stage, id int64, r cycle.Result) {
		time.Sleep(time.Second)
		s.Settled(key(id), "telegram:1000", r)
	}
	for name, play := range map[string]func(*stage, *cycle.Cycle){
		"no_updates": func(_ *stage, c *cycle.Cycle) { c.Fetched(cycle.Batch{FetchTime: fetch}) },
		"answered": func(s *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Handed: handed(100000001, 100000002), FetchTime: fetch})
			settle(s, 100000002, cycle.Result{Sent: true, SendTime: 120 * time.Millisecond})
			settle(s, 100000001, cycle.Result{Sent: true, SendTime: 80 * time.Millisecond})
		},
		"allowlist_drop": func(_ *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Dropped: refused(100000004), FetchTime: fetch})
		},
		"stale_drop": func(_ *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Stale: []store.NewUpdate{{UpdateID: 5, ChatID: 1000}}, Floor: 77, FetchTime: fetch})
		},
		"codex_timeout": func(s *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Handed: handed(100000002), FetchTime: fetch})
			settle(s, 100000002, cycle.Result{Code: cycle.CodexTimeout, Message: "TimeoutError: codex invocation timed out"})
		},
		"codex_exec_failed": func(s *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Handed: handed(100000002), FetchTime: fetch})
			settle(s, 100000002, cycle.Result{Code: cycle.CodexExecFailed, Message: "codex backend error: spawn"})
		},
		"notified_of_a_failure": func(s *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Handed: handed(100000002), FetchTime: fetch})
			settle(s, 100000002, cycle.Result{Sent: true, Code: cycle.CodexInvalidAnswer, Message: "no answer"})
		},
		"left_for_later": func(s *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Handed: handed(100000002), FetchTime: fetch})
			settle(s, 100000002, cycle.Result{Left: true, Code: cycle.ProcessingException, Message: "update 100000002: Error: telegram sendMessage"})
		},
		"fetch_failed": func(s *stage, c *cycle.Cycle) {
			s.FetchRetried()
			s.FetchRetried()
			c.Fetched(cycle.Batch{Failed: errors.New("telegram getUpdates: network-error:  the proxy\n cannot be reached"), FetchTime: fetch})
		},
		"store_failed": func(_ *stage, c *cycle.Cycle) {
			c.Failed(cycle.ProcessOnceFailed, errors.New("database commit: disk full"))
		},
		"cursor_load_strict": func(_ *stage, c *cycle.Cycle) {
			c.Failed(cycle.LoopCycleFailed, errors.New("cursor state load x.json failed: the file is not JSON"))
		},
		"cursor_trouble": func(s *stage, c *cycle.Cycle) {
			s.Diagnostic(store.Key{}, cycle.Detail{Code: cycle.CursorLoadError, Message: "cursor state load x.json failed"})
			c.Add(cycle.Detail{Code: cycle.CursorSaveError, Message: "cursor state save x.json failed"})
			c.Add(cycle.Detail{Code: cycle.CursorSaveError, Message: "cursor state save x.json failed"})
			c.Fetched(cycle.Batch{FetchTime: fetch})
		},
		"in_doubt_and_retried": func(s *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Handed: handed(100000002), FetchTime: fetch})
			s.Retried(key(100000002))
			s.Diagnostic(key(100000002), cycle.Detail{Code: cycle.DeliveryInDoubt, Message: "sent again", UpdateID: 100000002, ChatID: 1000})
			settle(s, 100000002, cycle.Result{Sent: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				c := s.Begin(time.Now())
				time.Sleep(fetch)
				play(s, c)
				if err := s.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(s.reports) != 1 {
					t.Fatalf("%d reports", len(s.reports))
				}
				golden(t, name, s.reports[0])
			})
		})
	}
}

func golden(t *testing.T, name string, report *telemetryv1.CycleReport) {
	t.Helper()
	line, err := cycle.JSON(report)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Indent(&got, line, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestALongTurnHoldsBackNoOtherReport(t *testing.T) {
	s := newStage()
	first := s.Begin(time.Now())
	first.Fetched(cycle.Batch{Handed: handed(1, 2)})
	second := s.Begin(time.Now())
	second.Fetched(cycle.Batch{Handed: handed(3)})
	s.Settled(key(1), "", cycle.Result{Sent: true})
	s.Settled(key(3), "", cycle.Result{Sent: true})
	s.Settled(key(3), "", cycle.Result{Sent: true}) // known no more
	s.Settled(key(9), "", cycle.Result{Sent: true}) // never known
	if len(s.reports) != 1 || s.reports[0].GetFetchedCount() != 1 || s.reports[0].GetSentCount() != 1 {
		t.Fatalf("reports %v", s.reports)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx); !errors.Is(err, cycle.ErrInterrupted) {
		t.Errorf("Wait() = %v", err)
	}
	s.Settled(key(2), "", cycle.Result{})
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if len(s.reports) != 2 || s.reports[1].GetAckedCount() != 2 || s.reports[1].GetSentCount() != 1 {
		t.Errorf("reports %v", s.reports)
	}
}

// A lane may take up and settle an update between its commit and the moment the
// cycle is told of it.
func TestAResultThatComesBeforeItsBatchCounts(t *testing.T) {
	s := newStage()
	c := s.Begin(time.Now())
	s.Settled(key(1), "telegram:1000", cycle.Result{Sent: true, Code: cycle.CodexTimeout, Message: "x"})
	s.Settled(key(7), "telegram:1000", cycle.Result{Sent: true}) // of an earlier process
	c.Fetched(cycle.Batch{Handed: handed(1, 2)})
	if len(s.reports) != 0 {
		t.Fatal("the report came too early")
	}
	s.Settled(key(2), "telegram:1000", cycle.Result{})
	if len(s.reports) != 1 || s.reports[0].GetSentCount() != 1 || s.reports[0].GetErrorCount() != 1 || s.reports[0].GetAckedCount() != 2 {
		t.Errorf("reports %v", s.reports)
	}
}

func TestAnEmptyCycleIsReportedOnlyWhenItHasSomethingToSay(t *testing.T) {
	s := newStage()
	s.Begin(time.Now()).Empty(0)
	if len(s.reports) != 0 {
		t.Error("an empty cycle was reported")
	}
	s.Diagnostic(store.Key{}, cycle.Detail{Code: cycle.CursorLoadError, Message: "x"}) // between two cycles
	s.Begin(time.Now()).Empty(0)
	if len(s.reports) != 1 || s.reports[0].GetReason() != "completed-with-errors" {
		t.Errorf("reports %v", s.reports)
	}
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProgressIsToldInOrder(t *testing.T) {
	s := newStage()
	c := s.Begin(time.Now())
	c.Fetched(cycle.Batch{Handed: handed(1), Dropped: refused(2)})
	s.Settled(key(1), "", cycle.Result{})
	s.Begin(time.Now()).Empty(0)
	var got []string
	for _, p := range s.steps {
		got = append(got, fmt.Sprint(p.Cycle, p.Fetched, p.Settled, p.Last, p.Report != nil))
	}
	if diff := cmp.Diff([]string{"1 0 0 false false", "1 2 0 false false", "1 2 1 false false", "1 2 1 true true",
		"2 0 0 false false", "2 0 0 true false"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReportsFromManyGoroutines(t *testing.T) {
	s := newStage()
	var wait sync.WaitGroup
	for n := range int64(20) {
		c := s.Begin(time.Now())
		c.Fetched(cycle.Batch{Handed: handed(10*n+1, 10*n+2)})
		for i := range int64(2) {
			wait.Go(func() { s.Settled(key(10*n+i+1), "", cycle.Result{Sent: true}) })
		}
	}
	wait.Wait()
	if err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.reports) != 20 || slices.ContainsFunc(s.reports, func(r *telemetryv1.CycleReport) bool { return r.GetSentCount() != 2 }) {
		t.Errorf("%d reports", len(s.reports))
	}
}

func TestMessagesAreTidied(t *testing.T) {
	s := newStage()
	s.Begin(time.Now()).Failed(cycle.ProcessOnceFailed, errors.New(" a\t\n b "+strings.Repeat("é", 600)+"\xff"))
	got := s.reports[0].GetErrors()[0]
	if want := "a b " + strings.Repeat("é", 496); got != want || s.reports[0].GetErrorDetails()[0].GetMessage() != want {
		t.Errorf("message is %q", got)
	}
}
