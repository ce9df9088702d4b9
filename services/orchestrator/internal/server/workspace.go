package server

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
)

// Workspaces says where Codex works.
type Workspaces struct {
	Root  string   // one directory per session beneath it; absolute
	Roots []string // beneath these a request may choose; absolute, symbolic links resolved
}

// DirError says what is wrong with a working_dir. It does not quote it.
type DirError struct{ Problem string }

func (e *DirError) Error() string { return "working_dir " + e.Problem }

// Dir is the directory of a turn. The session's own has a hashed name, since ids
// may hold what file systems do not take; it need not exist yet. Errors:
// *DirError.
func (w Workspaces) Dir(sessionID, asked string) (string, error) {
	if asked == "" {
		sum := sha256.Sum256([]byte(sessionID))
		return filepath.Join(w.Root, hex.EncodeToString(sum[:16])), nil
	}
	if strings.ContainsRune(asked, 0) || !filepath.IsAbs(asked) {
		return "", &DirError{"must be an absolute path"}
	}
	// Links are resolved first, so that none leads out of the roots.
	dir, err := filepath.EvalSymlinks(asked)
	if err != nil {
		return "", &DirError{"does not exist"}
	}
	if !w.allows(dir) {
		return "", &DirError{"must lie beneath one of the worker's roots (ORCHESTRATOR_WORKSPACE_ROOTS)"}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", &DirError{"is not a directory"}
	}
	return dir, nil
}

func (w Workspaces) allows(dir string) bool {
	for _, root := range w.Roots {
		if rel, err := filepath.Rel(root, dir); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}
