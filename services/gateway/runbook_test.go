package gateway

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// Every code that a report can show is in the runbook's triage, and no other.
func TestRunbookExplainsEveryCode(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("internal/cycle/detail.go")
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../../docs/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	collect := func(pattern string, text []byte) (found []string) {
		for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			found = append(found, string(match[1]))
		}
		slices.Sort(found)
		return found
	}
	block := regexp.MustCompile(`(?s)// Codes of details\.\nconst \((.*?)\n\)`).Find(source)
	codes := collect(`= "([a-z-]+)"`, block)
	explained := collect("(?m)^\\| `([a-z]+(?:-[a-z]+)+)` \\| .+ \\| .+ \\| .+ \\|$", runbook)
	if len(codes) < 10 || !slices.Equal(codes, explained) {
		t.Errorf("codes     %q\nexplained %q", codes, explained)
	}
}
