package telecodex

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/internal/lifecycle"
)

// offStage is an environment without a Codex and without settings.
func offStage(t *testing.T) lifecycle.Lookup {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	return func(name string) (string, bool) {
		if name != "HOME" {
			return "", false
		}
		return os.LookupEnv(name)
	}
}

func TestDemoShowsARoundTripAndItsReport(t *testing.T) {
	env := offStage(t)
	var out, log bytes.Buffer
	if status := Main(t.Context(), []string{"demo", "--message", "What is 6 times 7?"}, env, &out, &log); status != 0 {
		t.Fatalf("status %d: %s", status, log.String())
	}
	for _, line := range []string{
		`Codex: scripted \(codex is not installed\)`,
		`you: What is 6 times 7\?`,
		`bot: You said: What is 6 times 7\?`,
		`round trip: [0-9.]+m?s`,
	} {
		if !regexp.MustCompile("(?m)^" + line + "$").MatchString(out.String()) {
			t.Errorf("no line %q in:\n%s", line, out.String())
		}
	}
	_, report, _ := strings.Cut(out.String(), "cycle report: ")
	var fields struct {
		Status, Reason string
		Sent           int `json:"sent_count"`
	}
	if err := json.Unmarshal([]byte(report), &fields); err != nil {
		t.Fatalf("the report is not JSON: %v", err)
	}
	if fields.Status != "ok" || fields.Reason != "processed" || fields.Sent != 1 {
		t.Errorf("report = %+v", fields)
	}
	for _, dir := range []string{os.Getenv("TMPDIR"), os.Getenv("HOME")} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

func TestConversationRemembersAndAnswersCommands(t *testing.T) {
	env := offStage(t)
	var out, log bytes.Buffer
	stage, err := setUp(t.Context(), env, &out, &log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stage.tearDown(); err != nil {
			t.Error(err)
		}
	}()
	typed := strings.NewReader("my number is 7\n\nrecall\n/help\n")
	if err := stage.play(t.Context(), func(ctx context.Context) error { return stage.converse(ctx, typed) }); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"bot> You said: my number is 7\n", "1. my number is 7\n", "/cancel - "} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is missing in:\n%s", text, out.String())
		}
	}
}

func TestDemoEndsWhenInterrupted(t *testing.T) {
	env := offStage(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if status := Main(ctx, []string{"demo", "--message", "hello"}, env, &bytes.Buffer{}, &bytes.Buffer{}); status != lifecycle.ExitInterrupted {
		t.Errorf("status %d", status)
	}
}
