package telecodex

import (
	"path/filepath"
	"strings"
)

// masks are the paths of the gateway that Codex must not see: the directories
// that hold its store and cursor, and the token file. A directory that also
// holds something Codex needs cannot be hidden whole; then only the named files
// are.
func masks(files, needed []string) []string {
	var hidden []string
	for _, file := range files {
		if file == "" || strings.Contains(file, "://") {
			continue
		}
		path, err := filepath.Abs(file)
		if err != nil {
			continue // no working directory: nothing relative can be opened either
		}
		if dir := filepath.Dir(path); !holdsAny(dir, needed) {
			path = dir
		}
		hidden = append(hidden, path)
	}
	return hidden
}

// holdsAny reports whether one of the paths is dir or lies beneath it.
func holdsAny(dir string, paths []string) bool {
	for _, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			return true
		}
		if rel, err := filepath.Rel(dir, abs); err != nil || rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return true
		}
	}
	return false
}
