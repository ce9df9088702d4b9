package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Change is made to a source file before it is built: Old, which is there exactly
// once, becomes New.
type Change struct{ File, Old, New string }

// Overlay is the flag of `go build` with which changes are made to sources, and files
// added to them, that stay as they are: for programs that break a promise, by which a
// test shows that it would notice. Files are named beneath root, a directory of the
// sources; what is built instead of them is written to dir. A change that does not fit
// any more is an error.
func Overlay(dir, root string, changes []Change, added map[string]string) (flag string, err error) {
	if root, err = filepath.Abs(root); err != nil {
		return "", err
	}
	files := map[string]string{}
	for _, c := range changes {
		source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(c.File)))
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(source), c.Old); n != 1 {
			return "", fmt.Errorf("%s has changed: %q is there %d times; what is to be broken no longer fits", c.File, c.Old, n)
		}
		files[c.File] = strings.Replace(string(source), c.Old, c.New, 1)
	}
	for name, content := range added {
		files[name] = content
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, content := range files {
		path := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, filepath.FromSlash(name))] = path
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return "-overlay=" + path, os.WriteFile(path, list, 0o600)
}
