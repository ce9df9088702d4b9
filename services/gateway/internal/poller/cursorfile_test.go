package poller

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCursorFileIsTheOriginsOwn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deeper", "still", "cursor.json")
	for _, next := range []int64{100000005, 7} {
		if err := WriteCursor(path, next); err != nil {
			t.Fatal(err)
		}
		floor, err := ReadCursor(path)
		if err != nil || floor == nil || *floor != next {
			t.Fatalf("floor = %v, %v", floor, err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"committed_floor": 7, "version": 1}`; string(text) != want {
		t.Errorf("the file holds %q, want %q", text, want)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(left) != 1 {
		t.Errorf("the directory holds %v, %v", left, err)
	}
}

func TestReadCursor(t *testing.T) {
	t.Parallel()
	const none = -1
	for text, want := range map[string]int64{
		`{"committed_floor": 12, "version": 1}`:              12,
		"{\r\n\t\"version\": 9, \"committed_floor\" : 0 }\n": 0,
		`{"committed_floor": null}`:                          none,
		`{}`:                                                 none,
	} {
		floor, err := parseCursor([]byte(text))
		switch {
		case err != nil:
			t.Errorf("%s: %v", text, err)
		case (floor == nil) != (want == none) || floor != nil && *floor != want:
			t.Errorf("%s: floor %v", text, floor)
		}
	}
	for text, want := range map[string]string{
		"\xff\xfe{}":                "not UTF-8",
		"":                          "not JSON",
		`{"committed_floor": 1`:     "not JSON",
		`{"committed_floor": 1} x`:  "not JSON",
		`[1]`:                       "not a JSON object",
		`null`:                      "not a JSON object",
		`{"committed_floor": "12"}`: "not an integer",
		`{"committed_floor": 1.5}`:  "not an integer",
		`{"committed_floor": true}`: "not an integer",
		`{"committed_floor": 99999999999999999999}`: "not an integer",
		`{"committed_floor": -1}`:                   "negative",
		`{"x": "` + strings.Repeat("x", 1<<17):      "too large",
	} {
		path := filepath.Join(t.TempDir(), "cursor.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadCursor(path)
		var failed *CursorFileError
		if !errors.As(err, &failed) || failed.Op != "load" || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func TestCursorFileThatIsMissingOrOutOfReach(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if floor, err := ReadCursor(filepath.Join(dir, "none.json")); floor != nil || err != nil {
		t.Errorf("a missing file: %v, %v", floor, err)
	}
	var failed *CursorFileError
	if _, err := ReadCursor(dir); !errors.As(err, &failed) || strings.Count(err.Error(), dir) != 1 {
		t.Errorf("a directory: %v", err)
	}
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteCursor(filepath.Join(blocked, "cursor.json"), 1); !errors.As(err, &failed) || failed.Op != "save" {
		t.Errorf("beneath a file: %v", err)
	}
}

func FuzzCursor(f *testing.F) {
	for _, seed := range []string{`{"committed_floor": 12, "version": 1}`, `{"committed_floor": null}`, `[]`, "\xff", `{"committed_floor": 1e3}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		floor, err := parseCursor(text)
		if floor != nil && (err != nil || *floor < 0) {
			t.Errorf("floor %d, %v", *floor, err)
		}
	})
}
