package poller_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/poller"
	"telecodex.dev/services/internal/telegramsim"
)

// direct carries requests to the simulator without a network, so that time can
// be virtual.
type direct struct{ sim *telegramsim.Sim }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	d.sim.ServeHTTP(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}

// inVirtualTime runs a test with a world whose clock is virtual.
func inVirtualTime(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		sim := telegramsim.New(telegramsim.Options{})
		w := build(t, sim, botapi.Options{Transport: direct{sim}})
		test(t, w)
		sim.Close()
	})
}

// polls are the times of the getUpdates calls so far, since start.
func (w *world) polls(start time.Time) (at []time.Duration) {
	for _, c := range w.sim.Calls(telegramsim.CallFilter{Method: "getUpdates"}) {
		at = append(at, c.At.Sub(start))
	}
	return at
}

func TestEmptyLongPollsAreSilentAndMessagesImmediate(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, func(t *testing.T, w *world) {
		start := time.Now()
		p, stop := w.run()
		time.Sleep(110 * time.Second)
		synctest.Wait()
		polls := w.polls(start) // the first one does not wait
		if want := []time.Duration{0, 0, 25 * time.Second, 50 * time.Second, 75 * time.Second, 100 * time.Second}; !slices.Equal(polls, want) {
			t.Errorf("polls at %v", polls)
		}
		if len(w.reports) != 0 {
			t.Errorf("reports %v", w.reports)
		}
		w.say("hello")
		synctest.Wait()
		if len(w.woken) != 1 || !p.LastSuccess().Equal(time.Now()) {
			t.Errorf("woken %v, last success %v", w.woken, p.LastSuccess())
		}
		stop()
	})
}

func TestShortPollsAreReportedAtTheirInterval(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, func(t *testing.T, w *world) {
		w.config.LongPoll = 0
		start := time.Now()
		_, stop := w.run()
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if polls := w.polls(start); len(polls) != 5 || polls[4] != 8*time.Second {
			t.Errorf("polls at %v", polls)
		}
		if len(w.reports) != 5 || w.reports[0].GetReason() != "no-updates" || w.reports[0].GetStatus() != "ok" {
			t.Errorf("reports %v", w.reports)
		}
		stop()
	})
}

func TestAServerThatDoesNotWaitIsNotAskedAllTheTime(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty at once":   `{"ok": true, "result": []}`,
		"the same always": `{"ok": true, "result": [{"update_id": 7, "poll": {}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T, w *world) {
				w.sim.Fail(telegramsim.Fault{Method: "getUpdates", Body: body, Count: -1})
				start := time.Now()
				_, stop := w.run()
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := len(w.polls(start)); got < 25 || got > 33 {
					t.Errorf("%d polls in a minute", got)
				}
				stop()
			})
		})
	}
}

func TestAConflictIsAnAlarmAndNoEnd(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, func(t *testing.T, w *world) {
		w.sim.SetWebhook("https://example.org/hook")
		start := time.Now()
		_, stop := w.run()
		time.Sleep(time.Minute)
		synctest.Wait()
		polls := w.polls(start)
		for i := 1; i < len(polls); i++ {
			if gap := polls[i] - polls[i-1]; gap < 3*time.Second || gap > 7*time.Second {
				t.Errorf("polls %v apart", gap)
			}
		}
		if len(polls) < 8 || len(w.reports) != len(polls) || w.reports[0].GetReason() != "adapter-fetch-exception" {
			t.Errorf("%d polls, %d reports", len(polls), len(w.reports))
		}
		w.sim.SetWebhook("")
		w.say("hello")
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if len(w.woken) != 1 {
			t.Error("it did not go on")
		}
		stop()
	})
}

func TestASecondPollerDoesNotEndTheFirst(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, func(t *testing.T, w *world) {
		_, stop := w.run()
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := w.client.GetUpdates(t.Context(), botapi.GetUpdates{}); err != nil {
			t.Fatal(err)
		}
		w.say("hello")
		time.Sleep(8 * time.Second)
		synctest.Wait()
		if len(w.reports) == 0 || w.reports[0].GetStatus() != "failed" || len(w.woken) != 1 {
			t.Errorf("reports %v, woken %v", w.reports, w.woken)
		}
		stop()
	})
}

func TestFailuresAreRepeatedEverMoreSlowly(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, func(t *testing.T, w *world) {
		w.sim.Fail(telegramsim.Fault{Method: "getUpdates", Status: 401, Count: -1})
		start := time.Now()
		_, stop := w.run()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		polls := w.polls(start)
		for i := 1; i < len(polls); i++ {
			if gap := polls[i] - polls[i-1]; gap < time.Second || gap > 30*time.Second {
				t.Errorf("polls %v apart", gap)
			}
		}
		if len(polls) < 20 || len(polls) > 60 {
			t.Errorf("%d polls in 10 minutes", len(polls))
		}
		w.sim.ClearFaults()
		w.say("hello")
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if len(w.woken) != 1 {
			t.Error("it did not go on")
		}
		stop()
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, func(t *testing.T, w *world) {
		w.sim.Fail(telegramsim.Fault{Method: "getUpdates", RetryAfter: 100, Count: 3})
		start := time.Now()
		_, stop := w.run()
		time.Sleep(400 * time.Second)
		synctest.Wait()
		polls := w.polls(start)
		for i := 1; i < 4; i++ {
			if gap := polls[i] - polls[i-1]; gap < 100*time.Second {
				t.Errorf("poll %d comes after %v", i, gap)
			}
		}
		stop()
	})
}

func TestPollNowCutsALongPollShortAndIsReported(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, func(t *testing.T, w *world) {
		start := time.Now()
		p, stop := w.run()
		time.Sleep(time.Second)
		synctest.Wait()
		p.PollNow()
		synctest.Wait()
		if polls := w.polls(start); len(polls) != 3 || polls[2] != time.Second || len(w.reports) != 1 || w.reports[0].GetReason() != "no-updates" {
			t.Errorf("polls at %v, reports %v", polls, w.reports)
		}
		// While it pauses, too.
		p.PollNow()
		synctest.Wait()
		if polls := w.polls(start); len(polls) != 4 || len(w.reports) != 2 {
			t.Errorf("polls at %v, %d reports", polls, len(w.reports))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		w.say("hello")
		synctest.Wait()
		if len(w.woken) != 1 {
			t.Error("long polls did not come back")
		}
		stop()
	})
}

func TestAStrictCursorFileIsAskedAgainUntilItIsMended(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, func(t *testing.T, w *world) {
		w.config.CursorPath, w.config.Strict = filepath.Join(t.TempDir(), "cursor.json"), true
		if err := os.WriteFile(w.config.CursorPath, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(5*time.Second, func() {
			if err := poller.WriteCursor(w.config.CursorPath, 77); err != nil {
				t.Error(err)
			}
		})
		floor, err := poller.LoadCursor(t.Context(), w.config)
		if err != nil || floor == nil || *floor != 77 || len(w.reports) != 3 {
			t.Errorf("floor %v, %v, %d reports", floor, err, len(w.reports))
		}
		if err := os.WriteFile(w.config.CursorPath, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := poller.LoadCursor(ctx, w.config); err == nil {
			t.Error("the end of its context is no error")
		}
	})
}
