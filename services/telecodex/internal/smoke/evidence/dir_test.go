package evidence

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

var when = time.Date(2026, 2, 28, 23, 59, 1, 0, time.FixedZone("", -3600))

func TestDirectoryIsNamedByTheTimeInUTC(t *testing.T) {
	if got := DefaultBase("tg-live-e2", when); got != filepath.Join("artifacts", "test-logs", "tg-live-e2-20260301") {
		t.Errorf("base %s", got)
	}
	base := filepath.Join(t.TempDir(), "a", "b")
	for _, want := range []string{"tg-live-e2-20260301T005901Z", "tg-live-e2-20260301T005901Z-2"} {
		d, err := Create(base, "tg-live-e2", when)
		if err != nil || d.Path() != filepath.Join(base, want) {
			t.Errorf("%s, %v", d.Path(), err)
		}
	}
}

func TestEvidenceIsKeptForItsOwnerAlone(t *testing.T) {
	d, err := Create(t.TempDir(), "x", when)
	if err != nil {
		t.Fatal(err)
	}
	path, err := d.Keep("S1", []byte("{\"status\":\"ok\"}\n"), map[string]any{"status": "ok"}, &Redactor{})
	if err != nil || path != filepath.Join(d.Path(), "S1.redacted.json") {
		t.Fatalf("%s, %v", path, err)
	}
	if err := d.KeepDocument("evidence.md", "text"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"S1.json": "{\"status\":\"ok\"}\n", "S1.redacted.json": "{\n  \"status\": \"ok\"\n}\n", "evidence.md": "text"} {
		got, err := os.ReadFile(filepath.Join(d.Path(), name))
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
		info, err := os.Stat(filepath.Join(d.Path(), name))
		if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := d.Keep("S1", nil, nil, &Redactor{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("written over: %v", err)
	}
}

func TestWhatCannotBeRedactedIsNotCaptured(t *testing.T) {
	d, err := Create(t.TempDir(), "x", when)
	if err != nil {
		t.Fatal(err)
	}
	if path, err := d.Keep("crash", []byte("panic"), nil, &Redactor{}); path != "" || err == nil {
		t.Errorf("%q, %v", path, err)
	}
	// A text that is part of what stands in for it cannot be taken out.
	r := &Redactor{}
	r.Know(Secrets{Texts: []string{"REDACTED"}})
	if path, err := d.Keep("leak", nil, map[string]any{"errors": []any{"REDACTED"}}, r); path != "" || !errors.Is(err, ErrLeak) {
		t.Errorf("%q, %v", path, err)
	}
	if _, err := os.Stat(filepath.Join(d.Path(), "leak.redacted.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was kept: %v", err)
	}
}

func TestEvidenceThatIsLostIsNoticed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(path string) error
		lost   bool
	}{
		"as it was": {func(string) error { return nil }, false},
		"gone":      {os.Remove, true},
		"empty":     {func(path string) error { return os.Truncate(path, 0) }, true},
		"cut off":   {func(path string) error { return os.Truncate(path, 10) }, true},
		"no object": {func(path string) error { return os.WriteFile(path, []byte("null"), 0o600) }, true},
		"no file":   {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, true},
	} {
		d, err := Create(t.TempDir(), "x", when)
		if err != nil {
			t.Fatal(err)
		}
		path, err := d.Keep("S1", nil, map[string]any{"status": "ok"}, &Redactor{})
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.change(path); err != nil {
			t.Fatal(err)
		}
		if err := Check(path); (err != nil) != tt.lost || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnEarlierTryIsSetAside(t *testing.T) {
	d, err := Create(t.TempDir(), "x", when)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Keep("S1", []byte("1"), map[string]any{}, &Redactor{}); err != nil {
		t.Fatal(err)
	}
	if path, err := d.SetAside("S1", 1); err != nil || path != filepath.Join(d.Path(), "S1.try-1.redacted.json") {
		t.Errorf("%s, %v", path, err)
	}
	if _, err := d.Keep("S1", []byte("2"), nil, &Redactor{}); !errors.Is(err, errNoReport) {
		t.Error(err)
	}
	if path, err := d.SetAside("S1", 2); err != nil || path != "" {
		t.Errorf("%q, %v", path, err)
	}
	for name, want := range map[string]string{"S1.try-1.json": "1", "S1.try-2.json": "2"} {
		if got, err := os.ReadFile(filepath.Join(d.Path(), name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
}

func TestTableHasTheProtocolsColumns(t *testing.T) {
	rows := []Row{
		{"S1 happy path", "bin/telecodex --once", when, when.Add(time.Second), "ok", "processed", "sent_count=1", "a.redacted.json", "PASS"},
		{Scenario: "S3", Command: "X=`a|b`\nc", Verdict: "UNTESTED"},
	}
	want := "| Scenario | Command | Start UTC | End UTC | Status | Reason | Key signals observed | Redacted evidence path | Decision |\n" +
		"|---|---|---|---|---|---|---|---|---|\n" +
		"| S1 happy path | `bin/telecodex --once` | `2026-03-01T00:59:01Z` | `2026-03-01T00:59:02Z` | `ok` | `processed` | `sent_count=1` | `a.redacted.json` | `PASS` |\n" +
		"| S3 | `X='a\\|b' c` | - | - | - | - | - | - | `UNTESTED` |\n"
	if got := Table(rows); got != want {
		t.Errorf("table:\n%s", got)
	}
}
