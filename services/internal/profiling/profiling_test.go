package profiling_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/profiling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOnlyThisMachineIsServed(t *testing.T) {
	for addr, ok := range map[string]bool{"": true, "127.0.0.1:6060": true, "[::1]:6060": true, "localhost:6060": true, "unix:///run/p": true,
		":6060": false, "0.0.0.0:6060": false, "10.0.0.1:6060": false, "worker.example:6060": false, "6060": false} {
		if err := profiling.CheckAddr(addr); (err == nil) != ok {
			t.Errorf("CheckAddr(%q) = %v", addr, err)
		}
		if !ok && profiling.Serve(t.Context(), addr) == nil {
			t.Errorf("Serve(%q) served", addr)
		}
	}
}

func TestProfilesAreServedWithoutTheCommandLine(t *testing.T) {
	addr, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- profiling.Serve(ctx, addr) }()
	defer http.DefaultClient.CloseIdleConnections()
	get := func(path string) (int, string) {
		for deadline := time.Now().Add(10 * time.Second); ; {
			answer, err := http.Get("http://" + addr + path)
			if err != nil && time.Now().Before(deadline) {
				continue // it does not listen yet
			}
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			return answer.StatusCode, string(text)
		}
	}
	if status, text := get("/debug/pprof/goroutine?debug=1"); status != http.StatusOK || !strings.Contains(text, "profiling.Serve") {
		t.Errorf("goroutines: %d %s", status, text)
	}
	if status, _ := get("/debug/pprof/cmdline"); status != http.StatusNotFound {
		t.Errorf("the command line: %d", status)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := profiling.Serve(t.Context(), ""); err != nil {
		t.Errorf("without an address: %v", err)
	}
}
