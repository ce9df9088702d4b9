// Package archive holds an idle session in one file, for another worker to go on
// with it: who it is, the files in which Codex keeps its thread, and its workspace.
// It is a gzipped tar whose first entry says what the rest is.
//
// Whoever reads an archive trusts nothing in it: names stay beneath the directory
// that it is unpacked into, links stay within the workspace, nothing is unpacked
// through a link, nothing but files, directories and links is unpacked at all, and
// sizes have bounds.
package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"telecodex.dev/services/orchestrator/internal/codex"
)

// Version is the format that is written.
const Version = 1

// Names of what is in an archive.
const (
	manifestName = "telecodex-session.json"
	threadDir    = "sessions"  // beneath CODEX_HOME, too
	workDir      = "workspace" // the session's own
)

const (
	maxManifest = 64 << 10
	maxName     = 4096
)

// Manifest says whose session it is.
type Manifest struct {
	Version    int       `json:"version"`
	SessionID  string    `json:"session_id"`
	ThreadID   string    `json:"thread_id"`
	WorkerID   string    `json:"worker_id"`  // it is taken from
	JournalID  string    `json:"journal_id"` // of that worker
	LastTurnID string    `json:"last_turn_id"`
	Workspace  bool      `json:"workspace"` // the session has one of its own
	ExportedAt time.Time `json:"exported_at"`
}

// Limits bound what is unpacked.
type Limits struct {
	Bytes   int64 // of all files together
	Entries int
}

// Error says that an archive is refused. Nothing of it is used.
type Error struct {
	Entry   string // empty: the archive as a whole
	Problem string
}

func (e *Error) Error() string {
	if e.Entry == "" {
		return "the archive " + e.Problem
	}
	return fmt.Sprintf("the archive's entry %.200q %s", e.Entry, e.Problem)
}

func parseManifest(content []byte) (m Manifest, err error) {
	if err := json.Unmarshal(content, &m); err != nil {
		return m, &Error{manifestName, "is not JSON of this format"}
	}
	switch {
	case m.Version != Version:
		return m, &Error{manifestName, fmt.Sprintf("has version %d, this program knows %d", m.Version, Version)}
	case m.SessionID == "" || m.ThreadID == "" || m.WorkerID == "":
		return m, &Error{manifestName, "does not say whose session it is"}
	case !codex.IsThreadID(m.ThreadID):
		return m, &Error{manifestName, "names no thread of Codex's"}
	}
	return m, nil
}

// place is the part of an archive that a name lies in, and its path there.
func place(name string) (dir, rel string, err error) {
	if len(name) > maxName || strings.ContainsAny(name, "\\\x00") || path.Clean(name) != strings.TrimSuffix(name, "/") || path.IsAbs(name) {
		return "", "", errors.New("has a name that is not a plain path")
	}
	dir, rel, _ = strings.Cut(strings.TrimSuffix(name, "/"), "/")
	if dir != threadDir && dir != workDir {
		return "", "", errors.New("lies outside of sessions and workspace")
	}
	return dir, rel, nil
}

// inside says whether a link in a workspace, at the path rel there, leads to a
// place in it. It may go up only at first: a step up after another one would be
// taken from where a link on the way leads to, which the text does not show.
func inside(rel, target string) bool {
	if target == "" || len(target) > maxName || path.IsAbs(target) || strings.ContainsAny(target, "\\\x00") {
		return false
	}
	depth, down := strings.Count(rel, "/"), false
	for step := range strings.SplitSeq(target, "/") {
		switch step {
		case "", ".":
		case "..":
			if depth--; down || depth < 0 {
				return false
			}
		default:
			down = true
		}
	}
	return true
}
