package structure

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the record of the parity spec maps its names to is there: each test in the
// conformance suite, each path in the repository.
func TestTheParityRecordNamesWhatExists(t *testing.T) {
	suite := ""
	for _, name := range files(t) {
		if strings.HasPrefix(name, "services/e2e/conformance/") && strings.HasSuffix(name, "_test.go") {
			suite += string(read(t, name))
		}
	}
	tests, paths := 0, 0
	for line := range strings.Lines(string(read(t, "docs/adr/0005-streaming-parity-spec.md"))) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		for _, word := range regexp.MustCompile("`[^`]+`").FindAllString(cells[2], -1) {
			switch word = strings.Trim(word, "`"); {
			case strings.HasPrefix(word, "Test"):
				tests++
				if !strings.Contains(suite, "\nfunc "+word+"(t *testing.T) {") {
					t.Errorf("the conformance suite has no %s", word)
				}
			case strings.HasPrefix(word, "services/"), strings.HasPrefix(word, ".github/"):
				paths++
				if _, err := os.Stat(filepath.Join("..", "..", "..", filepath.FromSlash(word))); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if tests < 6 || paths < 5 {
		t.Errorf("%d tests and %d paths were found in the record", tests, paths)
	}
}
