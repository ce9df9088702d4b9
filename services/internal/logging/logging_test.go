package logging_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"go.uber.org/zap"

	"telecodex.dev/services/internal/logging"
)

func TestNewWritesOneJSONObjectALine(t *testing.T) {
	var buf bytes.Buffer
	log, err := logging.New(&buf, "info")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("not shown")
	log.Named("poller").Info("polled", zap.Int("updates", 3))

	var line map[string]any
	if err := json.Unmarshal(buf.Bytes(), &line); err != nil {
		t.Fatalf("not one JSON object: %v", err)
	}
	for key, want := range map[string]any{"msg": "polled", "logger": "poller", "level": "info", "updates": 3.0} {
		if line[key] != want {
			t.Errorf("%s = %v, want %v", key, line[key], want)
		}
	}
}

func TestNewRefusesUnknownLevel(t *testing.T) {
	for _, level := range []string{"", "verbose", "panic", "fatal"} {
		if _, err := logging.New(&bytes.Buffer{}, level); err == nil {
			t.Errorf("level %q was accepted", level)
		}
	}
}
