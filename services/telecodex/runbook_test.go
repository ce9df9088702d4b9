package telecodex

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"telecodex.dev/services/gateway"
	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/orchestrator"
)

var update = flag.Bool("update", false, "write the configuration tables of the runbook anew")

const runbook = "../../docs/RUNBOOK.md"

// tableOf are the settings as the runbook shows them.
func tableOf(flags []command.Flag) string {
	var b strings.Builder
	b.WriteString("| Variable | Flag | Default | Meaning |\n|---|---|---|---|\n")
	for _, f := range flags {
		meaning := f.Help
		if len(f.Words) > 1 {
			meaning += ": " + strings.Join(f.Words, ", ")
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", f.Variable, strings.TrimSpace(f.Name+" "+f.Value), f.Default, meaning)
	}
	return b.String()
}

// The runbook shows the settings that there are, all of them and no others.
func TestRunbookShowsTheSettings(t *testing.T) {
	content, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	for name, flags := range map[string][]command.Flag{"gateway": gateway.Flags(), "orchestrator": orchestrator.Flags()} {
		place := regexp.MustCompile(`(?s)<!-- ` + name + ` -->\n(.*?)<!-- end -->`)
		shown := place.FindStringSubmatch(text)
		if shown == nil {
			t.Fatalf("there is no place for the settings of the %s", name)
		}
		if want := "\n" + tableOf(flags) + "\n"; shown[1] != want {
			if !*update {
				t.Errorf("the settings of the %s are others; go test -run TestRunbook ./telecodex -update writes them", name)
			}
			text = strings.Replace(text, shown[0], "<!-- "+name+" -->\n"+want+"<!-- end -->", 1)
		}
	}
	if *update {
		if err := os.WriteFile(runbook, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
