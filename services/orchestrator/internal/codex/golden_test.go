package codex

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

// decodeAll decodes to the end and requires that to be io.EOF.
func decodeAll(t testing.TB, source io.Reader) ([]*event, Stats) {
	t.Helper()
	d := NewDecoder(source, noon)
	var all []*event
	for {
		batch, err := d.Next()
		if errors.Is(err, io.EOF) {
			return all, d.Stats()
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 || len(batch) > maxBatch {
			t.Fatalf("a batch of %d events", len(batch))
		}
		all = append(all, batch...)
	}
}

// render writes one event to a line, as JSON with sorted keys.
func render(t *testing.T, events []*event) []byte {
	t.Helper()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	for _, e := range events {
		raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var sorted map[string]any
		if err := json.Unmarshal(raw, &sorted); err != nil {
			t.Fatal(err)
		}
		delete(sorted, "occurred_at")
		if err := encoder.Encode(sorted); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// TestGolden decodes every corpus under testdata: what the documentation shows,
// what Codex might print one day or by accident, and recordings of the real one.
func TestGolden(t *testing.T) {
	var corpora []string
	err := filepath.WalkDir("testdata", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".jsonl") {
			corpora = append(corpora, path)
		}
		return err
	})
	if err != nil || len(corpora) == 0 {
		t.Fatalf("no corpora: %v", err)
	}
	for _, corpus := range corpora {
		t.Run(strings.TrimSuffix(filepath.ToSlash(corpus), ".jsonl"), func(t *testing.T) {
			lines, err := os.ReadFile(corpus)
			if err != nil {
				t.Fatal(err)
			}
			events, _ := decodeAll(t, bytes.NewReader(lines))
			for _, e := range events {
				checkBounds(t, e)
				if !e.GetOccurredAt().AsTime().Equal(noon()) {
					t.Errorf("occurred at %v", e.GetOccurredAt().AsTime())
				}
			}
			got, golden := render(t, events), strings.TrimSuffix(corpus, ".jsonl")+".golden"
			if bytes.Contains(got, []byte("RAWLINE_SECRET_DO_NOT_LEAK")) {
				t.Error("a raw line leaked")
			}
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
				t.Errorf("events differ from %s (-want +got):\n%s", golden, diff)
			}
		})
	}
}
