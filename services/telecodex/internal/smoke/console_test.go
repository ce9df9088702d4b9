package smoke

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"telecodex.dev/services/telecodex/internal/smoke/evidence"
	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

func TestConsole(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
		want     string
	}{
		{"a terminal shows what goes on in one line", true,
			"\r\x1b[KS1 …\r\x1b[K  waiting: 60 s left \r\x1b[K  waiting: 59 s left \r\x1b[KPASS\n"},
		{"elsewhere there are lines, few of them", false, "  waiting: 60 s left\nPASS\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			c := &console{w: &out, terminal: tt.terminal}
			c.statusf("S1 …")
			c.countdown("waiting", time.Minute)
			c.countdown("waiting", time.Minute-time.Second)
			c.linef("PASS")
			if out.String() != tt.want {
				t.Errorf("wrote %q, want %q", out.String(), tt.want)
			}
		})
	}
}

func TestWindowKeepsOneEnd(t *testing.T) {
	for _, tt := range []struct {
		tail bool
		want string
	}{{false, "abcd"}, {true, "efgh"}} {
		w := &window{limit: 4, tail: tt.tail}
		for _, text := range []string{"abc", "def", "gh"} {
			if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		}
		if got := w.text.String(); got != tt.want {
			t.Errorf("kept %q, want %q", got, tt.want)
		}
	}
}

func TestOnlyURLsBeyondThisMachineAreProxied(t *testing.T) {
	for url, want := range map[string]bool{
		"https://api.telegram.org": true, "https://10.0.0.1/bot": true, "http://api.telegram.org": false,
		"https://localhost:8081": false, "https://127.0.0.1": false, "https://[::1]:8081": false, "http://127.0.0.1:8081": false, "%": false,
	} {
		if proxied(url) != want {
			t.Errorf("%s: %v", url, !want)
		}
	}
}

// What a cycle may take, and then to stop, ends with the run: no cycle goes on
// beyond it, however long those before it took.
func TestCyclesEndWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newSimulated(&run{Options: Options{Limit: 15 * time.Second}, redactor: &evidence.Redactor{}, begin: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		for range 13 {
			if left := s.left(); left <= 0 || !time.Now().Add(left+simulatedGrace).Equal(s.end) {
				t.Errorf("%s before its end a cycle gets %s", time.Until(s.end), left)
			}
			time.Sleep(time.Second)
		}
		if _, err := s.set(t.Context(), protocol.Cycles()[0], 1, t.TempDir()); !errors.Is(err, errNoTime) {
			t.Errorf("with no time left: %v", err)
		}
	})
}
