package chaos

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A point that nobody passes proves nothing, and of one that is passed in two
// places nobody knows where a process died.
func TestEveryPointIsPassedInOnePlace(t *testing.T) {
	services := filepath.Join("..", "..")
	named, err := os.ReadFile(filepath.Join(services, "internal", "crashpoint", "crashpoint.go"))
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+)\s+Point = `).FindAllSubmatch(named, -1) {
		places[string(m[1])] = 0
	}
	if len(places) == 0 {
		t.Fatal("no points were found")
	}
	call := regexp.MustCompile(`\bcrashpoint\.Here\(crashpoint\.(\w+)\)`)
	for _, program := range []string{"gateway", "orchestrator"} {
		err := filepath.WalkDir(filepath.Join(services, program), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, m := range call.FindAllSubmatch(source, -1) {
				places[string(m[1])]++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, count := range places {
		if count != 1 {
			t.Errorf("%s is passed in %d places", name, count)
		}
	}
}
