package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"telecodex.dev/services/e2e/internal/harness"
)

// inline is a command between the words of a document.
var inline = regexp.MustCompile("`(?:[A-Z_]+=\\S+ )*(?:bin/)?(make|telecodex|gateway|orchestrator) ([^`]+)`")

// A command that stands within a sentence is there: the target of make, the command of
// a program and its flags.
func TestCommandsWithinSentencesAreThere(t *testing.T) {
	t.Parallel()
	programs, err := harness.Build(t.Context(), filepath.Join(t.TempDir(), "bin"), "telecodex", "gateway", "orchestrator")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for document, text := range documents(t) {
		for _, found := range inline.FindAllStringSubmatch(text, -1) {
			program, words := found[1], strings.Fields(found[2])
			if seen[found[0]] {
				continue
			}
			seen[found[0]] = true
			if program == "make" {
				target := words[0]
				known := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(makefile)
				if !known && !slices.Contains([]string{".bin/grpcurl", ".bin/gojq"}, target) {
					t.Errorf("%s: make has no target %s", document, target)
				}
				continue
			}
			page := []string{"--help"}
			if !strings.HasPrefix(words[0], "-") {
				page = []string{words[0], "--help"}
			}
			manual, err := exec.CommandContext(t.Context(), programs.Path(program), page...).Output()
			if err != nil {
				t.Errorf("%s: %s: %v", document, found[0], err)
			}
			for _, word := range words {
				if flag, _, _ := strings.Cut(word, "="); strings.HasPrefix(flag, "--") && !strings.Contains(string(manual), flag) {
					t.Errorf("%s: %s: there is no %s", document, found[0], flag)
				}
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d commands were found", len(seen))
	}
}
