package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/diskfile"
	"telecodex.dev/services/internal/refusal"
	"telecodex.dev/services/orchestrator/internal/archive"
	"telecodex.dev/services/orchestrator/internal/codex"
	"telecodex.dev/services/orchestrator/internal/journal"
)

const exportWord = "export"

func exportPage() command.Command {
	return command.Command{
		Name:    "orchestrator " + exportWord,
		Summary: "put a session into a file, for another worker to go on with it",
		Synopsis: []string{"orchestrator export [--flag value …]", "orchestrator export SESSION --out FILE [--flag value …]",
			"orchestrator export --all --out DIR [--flag value …]"},
		Description: "Writes a session's Codex thread and workspace, and whose they are, into one archive; without a session it lists " +
			"those that the worker knows, one line of JSON each. It works on the worker's disk and is told where that is by the " +
			"worker's own flags and variables; run it as the worker's user. The worker must be drained or stopped. Nothing is taken " +
			"away from it. Links that lead out of the workspace are left out, and named.",
		Argument: command.Argument{Name: "SESSION"},
		Flags: slices.Concat([]command.Flag{
			{Name: "--out", Value: command.Path, Help: "the file to be written; with --all the directory"},
			{Name: "--all", Help: "every session that has a thread, into a file each"},
			{Name: "--thread", Value: "ID", Help: "the session's thread, where the worker has forgotten the session; the gateway's ListSessions knows it"},
		}, Flags()),
		Variables: Variables(),
		Statuses:  transferStatuses(),
		Examples: []command.Entry{
			{Name: "orchestrator export", Text: "Which sessions there are."},
			{Name: "orchestrator export telegram:123456789 --out session.tgz", Text: "One of them."},
		},
	}
}

func transferStatuses() []command.Entry {
	return []command.Entry{{Name: "0", Text: "It is done."}, {Name: "1", Text: "It is not, and nothing was changed; standard error says why."},
		{Name: "2", Text: "The command line or configuration is invalid; one line of JSON on standard output says why."}}
}

// exported is the line about a session that was listed or written.
type exported struct {
	SessionID  string   `json:"session_id"`
	ThreadID   string   `json:"thread_id"`
	LastTurnID string   `json:"last_turn_id"`
	Running    bool     `json:"running,omitempty"`
	File       string   `json:"file,omitempty"`
	LeftOut    []string `json:"left_out,omitempty"`
}

// errExport refuses an export that cannot be meant.
var errExport = errors.New("--out FILE goes with a session or with --all, and those with it")

func runExport(ctx context.Context, c Config, given command.Values, stdout, stderr io.Writer) int {
	wanted, out, all := given["SESSION"], given["--out"], given["--all"] == "true"
	if (out == "") != (wanted == "" && !all) || wanted != "" && all {
		return refusal.Print(stdout, errExport)
	}
	return report(stderr, func() (err error) {
		d, err := quiet(ctx, c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		id, sessions, err := d.sessions(ctx)
		if err != nil {
			return err
		}
		if wanted != "" {
			if sessions, err = choose(sessions, wanted, given["--thread"]); err != nil {
				return err
			}
		}
		lines := json.NewEncoder(stdout)
		var failed error // one session that cannot be written does not keep the others here
		for _, s := range sessions {
			line := exported{SessionID: s.ID, ThreadID: s.ThreadID, LastTurnID: s.LastTurnID, Running: s.Running}
			if out != "" && (s.ThreadID != "" || !all) {
				line.File = out
				if all {
					line.File = filepath.Join(out, fileOf(s.ID))
				}
				if line.LeftOut, err = d.export(s, id, line.File); err != nil {
					failed = errors.Join(failed, fmt.Errorf("session %s: %w", s.ID, err))
					continue
				}
			}
			if err := lines.Encode(line); err != nil {
				return err
			}
		}
		return failed
	})
}

// choose is the one session that is wanted.
func choose(sessions []journal.Session, wanted, thread string) ([]journal.Session, error) {
	i := slices.IndexFunc(sessions, func(s journal.Session) bool { return s.ID == wanted })
	switch {
	case i >= 0 && (thread == "" || thread == sessions[i].ThreadID):
		return sessions[i : i+1], nil
	case thread != "" && !codex.IsThreadID(thread):
		return nil, fmt.Errorf("--thread %q is none of Codex's thread ids, which are UUIDs", thread)
	case thread != "":
		return []journal.Session{{ID: wanted, ThreadID: thread}}, nil
	}
	return nil, fmt.Errorf("the worker does not know the session %q; it may have forgotten it: name its thread with --thread", wanted)
}

// fileOf is the name of a session's file: its id may hold what file systems do not
// take.
func fileOf(sessionID string) string {
	sum := sha256.Sum256([]byte(sessionID))
	return hex.EncodeToString(sum[:16]) + ".session.tgz"
}

// export writes a session's archive; the file is whole, or not there.
func (d *disk) export(s journal.Session, journalID, path string) (left []string, err error) {
	if s.ThreadID == "" {
		return nil, archive.ErrNoThread
	}
	workspace, err := d.workspace(s.ID)
	if err != nil {
		return nil, err
	}
	err = diskfile.Write(path, func(w io.Writer) error {
		left, err = archive.Write(w, archive.Manifest{SessionID: s.ID, ThreadID: s.ThreadID, WorkerID: d.WorkerID(), JournalID: journalID,
			LastTurnID: s.LastTurnID, ExportedAt: time.Now().UTC()}, archive.Source{Sessions: d.threads(), Workspace: workspace})
		return err
	})
	return left, err
}
