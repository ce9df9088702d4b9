package checkup

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChecksRunSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		var checks []*Check
		for range 3 {
			checks = append(checks, Start(t.Context(), "slow", time.Minute, func(context.Context) []Finding {
				time.Sleep(10 * time.Second)
				return []Finding{Well("slow", "done")}
			}))
		}
		for _, c := range checks {
			if found := c.Wait(t.Context()); len(found) != 1 || found[0].Detail != "done" {
				t.Errorf("found %v", found)
			}
		}
		if took := time.Since(started); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestACheckHasABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		polite := Start(t.Context(), "polite", time.Second, func(ctx context.Context) []Finding {
			<-ctx.Done()
			return []Finding{Broken("polite", "too slow", "wait")}
		})
		deaf := Start(t.Context(), "deaf", time.Second, func(context.Context) []Finding {
			time.Sleep(time.Hour)
			return nil
		})
		if found := polite.Wait(t.Context()); found[0].Detail != "too slow" {
			t.Errorf("found %v", found)
		}
		if found := deaf.Wait(t.Context()); found[0].Verdict != Fail || found[0].Detail != "no end within 1s" {
			t.Errorf("found %v", found)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if found := Start(ended, "late", time.Second, func(context.Context) []Finding { time.Sleep(time.Hour); return nil }).Wait(ended); found[0].Detail != "interrupted" {
			t.Errorf("found %v", found)
		}
		time.Sleep(2 * time.Hour) // for the deaf
	})
}

func TestTheWorstCounts(t *testing.T) {
	ok, warn, fail := Well("a", "b"), Doubtful("a", "b", "c"), Broken("a", "b", "c")
	for want, found := range map[Verdict][]Finding{OK: {ok, ok}, Warn: {ok, warn, ok}, Fail: {fail, warn, ok}} {
		if got := Worst(found); got != want {
			t.Errorf("%v: %s", found, got)
		}
	}
}

func TestVersionsAreComparedByNumber(t *testing.T) {
	for version, want := range map[string]Verdict{"0.169.0": OK, "0.170.3": OK, "0.169": OK, "0.171.0-alpha.1": OK,
		"0.99.0": Warn, "0.168.9": Warn, "0.1690.0": Warn, "1.0.0": Warn, "0.171.1": Warn, "x.y": Warn} {
		if f := CodexVersion("codex", version, "0.169.0", "0.171.0"); f.Verdict != want || !strings.Contains(f.Detail, version) {
			t.Errorf("%s: %+v", version, f)
		}
	}
}

func TestSpaceIsJudged(t *testing.T) {
	for free, want := range map[uint64]Verdict{0: Fail, 99 << 20: Fail, 100 << 20: Warn, 1 << 30: OK} {
		if f := roomFor("disk", "/data", free); f.Verdict != want {
			t.Errorf("%d: %+v", free, f)
		}
	}
}

func TestADirectoryIsTriedAndLeftAsItWas(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir, filepath.Join(dir, "a", "b")} {
		for _, inUse := range []bool{false, true} {
			found := Directory("store", name, inUse, "move it")
			if len(found) != 2 || found[0].Verdict == Fail || found[1].Name != "store disk" {
				t.Errorf("%s: %+v", name, found)
			}
			if got := strings.Contains(found[0].Detail, "only looked at"); got != inUse {
				t.Errorf("%s: %+v", name, found)
			}
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestADirectoryMustBePresent(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]Verdict{dir: OK, file: Fail, filepath.Join(dir, "none"): Fail} {
		if f := Present("home", path, "make it"); f.Verdict != want || !strings.Contains(f.Detail, path) {
			t.Errorf("%s: %+v", path, f)
		}
	}
}
