package dispatch

import (
	"testing"
	"testing/synctest"
	"time"

	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/lane"
	"telecodex.dev/services/gateway/internal/store"
)

// The pauses of a lane that gets nowhere double up to a cap. Each is drawn from
// around its length, so that lanes do not all come back at once.
func TestPausesGrowUpToTheirCap(t *testing.T) {
	t.Parallel()
	const tries = 100 // far beyond where a shift could overflow
	second := time.Second
	for name, tt := range map[string]struct {
		pauses func() func() time.Duration
		want   []time.Duration // the last again and again
		beyond float64         // of the length, a pause is shorter
	}{
		"a worker cannot be reached": {
			func() func() time.Duration { p := &patience{}; return p.pause },
			[]time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
				1600 * time.Millisecond, 3200 * time.Millisecond, 5 * second}, 1.5},
		"Codex cannot be started": {
			func() func() time.Duration {
				p := &postponed{}
				return func() time.Duration { p.times++; return p.pause() }
			},
			[]time.Duration{second, 2 * second, 4 * second, 8 * second, 16 * second, 32 * second, time.Minute}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			different := map[time.Duration]bool{}
			for range 50 {
				pause := tt.pauses()
				for i := range tries {
					want := tt.want[min(i, len(tt.want)-1)]
					got := pause()
					if got < want/2 || got >= time.Duration(tt.beyond*float64(want)) {
						t.Fatalf("pause %d is %s, want it around %s", i+1, got, want)
					}
					different[got] = true
				}
			}
			if len(different) < tries {
				t.Errorf("only %d pauses differ", len(different))
			}
		})
	}
}

// So they do in a lane whose worker cannot be reached for ten minutes.
func TestALaneTriesLessAndLessOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addrs = []string{"127.0.0.1:1"}
		w.prompt("one")
		last, want, pauses := time.Now(), firstPause, 0
		w.run()
		time.Sleep(10 * time.Minute)
		for _, line := range w.logs.FilterMessage("lane").All() {
			if line.ContextMap()["input"] != lane.Elapsed.String() {
				continue
			}
			if pause := line.Time.Sub(last); pause < want/2 || pause >= 3*want/2 {
				t.Errorf("pause %d is %s, want it around %s", pauses+1, pause, want)
			}
			last, want, pauses = line.Time, min(2*want, lastPause), pauses+1
		}
		if pauses < 80 || pauses > 250 {
			t.Errorf("%d tries in ten minutes", pauses)
		}
		must(t, w.halt())
	})
}

// Only progress begins the pauses anew: an answer is none.
func TestProgressBeginsThePausesAnew(t *testing.T) {
	t.Parallel()
	p := &patience{}
	for range 20 {
		p.failed()
		p.pause()
	}
	if p.answered(); p.pause() < lastPause/2 {
		t.Error("an answer begins the pauses anew")
	}
	if p.progressed(); p.pause() >= 3*firstPause/2 {
		t.Error("progress does not begin the pauses anew")
	}
}

// A worker out of reach is reported after ten seconds, no sooner and no later,
// whether or not it was chosen before; the update stays where it is.
func TestAnUnreachableWorkerIsReportedAfterTenSeconds(t *testing.T) {
	t.Parallel()
	for state, assigned := range map[store.State]bool{store.Queued: false, store.Assigned: true} {
		t.Run(string(state), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.addrs = []string{"127.0.0.1:1"}
				u := w.prompt("one")
				if assigned {
					must(t, w.store.Assign(t.Context(), w.turnID(u, 1), "a", "j", ""))
				}
				began := time.Now()
				w.run()
				for len(w.detailsOf(u)) == 0 {
					if time.Since(began) > time.Minute {
						t.Fatal("never reported")
					}
					time.Sleep(10 * time.Millisecond)
				}
				if took := time.Since(began); took < 10*time.Second || took > 10*time.Second+100*time.Millisecond {
					t.Errorf("reported after %s", took)
				}
				equal(t, "code", w.detailsOf(u)[0], cycle.CodexExecFailed)
				equal(t, "state", w.trace(u).Update.State, state)
				must(t, w.halt())
			})
		})
	}
}
