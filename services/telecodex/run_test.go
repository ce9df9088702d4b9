package telecodex

import (
	"path/filepath"
	"strings"
	"testing"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/orchestrator"
)

// A gateway that cannot begin ends while its worker still does.
func TestAWorkerThatIsStoppedWhileItBeginsHasNotFailed(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		config, err := orchestrator.ConfigFrom(nil, func(name string) string {
			return map[string]string{"ORCHESTRATOR_STATE_DIR": filepath.Join(dir, "worker"), "ORCHESTRATOR_METRICS_ADDR": "off"}[name]
		})
		if err != nil {
			t.Fatal(err)
		}
		// A directory is no database: the gateway ends at once.
		err = together(t.Context(), gateway.Config{Store: dir, OrchestratorMode: gateway.ModeCodex}, config)
		if err == nil || strings.Contains(err.Error(), "worker:") {
			t.Fatalf("ended with %v", err)
		}
	}
}
