package orchestrator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"telecodex.dev/services/internal/command"
	"telecodex.dev/services/internal/diskfile"
	"telecodex.dev/services/internal/refusal"
	"telecodex.dev/services/orchestrator/internal/archive"
	"telecodex.dev/services/orchestrator/internal/journal"
)

const importWord = "import"

func importPage() command.Command {
	return command.Command{
		Name:     "orchestrator " + importWord,
		Summary:  "take over a session that another worker has exported",
		Synopsis: []string{"orchestrator import FILE [--replace] [--flag value …]"},
		Description: "Unpacks an archive of orchestrator export on this worker's disk, which the worker's own flags and variables name; run it as " +
			"the worker's user. The worker may run. It prints the request of MoveSession, one line of JSON, with which the gateway " +
			"lets this worker have the session.",
		Argument:  command.Argument{Name: "FILE"},
		Flags:     slices.Concat([]command.Flag{{Name: "--replace", Help: "take the place of what this worker has of the session from earlier"}}, Flags()),
		Variables: Variables(),
		Statuses:  transferStatuses(),
		Examples: []command.Entry{{Name: "orchestrator import session.tgz | grpcurl -plaintext -d @ 127.0.0.1:7451 telecodex.gateway.v1.GatewayService/MoveSession",
			Text: "Take it over, and tell the gateway."}},
	}
}

// moveRequest is a MoveSessionRequest of the gateway, as JSON.
type moveRequest struct {
	SessionID    string `json:"session_id"`
	FromWorkerID string `json:"from_worker_id"`
	WorkerID     string `json:"worker_id"`
	ThreadID     string `json:"thread_id"`
	LastTurnID   string `json:"last_turn_id"`
}

// OccupiedError says that the worker has something of the session already.
type OccupiedError struct{ Path string }

func (e *OccupiedError) Error() string {
	return fmt.Sprintf("%s is there, and differs: nothing was changed; look at it, then --replace puts the archive's in its place", e.Path)
}

func runImport(ctx context.Context, c Config, given command.Values, stdout, stderr io.Writer) int {
	if given["FILE"] == "" {
		return refusal.Print(stdout, errors.New("missing value for FILE"))
	}
	return report(stderr, func() (err error) {
		d, err := still(ctx, c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, d.Close()) }()
		taken, err := d.take(ctx, given["FILE"], given["--replace"] == "true")
		if err != nil {
			return err
		}
		return json.NewEncoder(stdout).Encode(moveRequest{taken.SessionID, taken.WorkerID, d.WorkerID(), taken.ThreadID, taken.LastTurnID})
	})
}

// take unpacks an archive beside the workspaces, and puts it in place once all of
// it is known to be good.
func (d *disk) take(ctx context.Context, path string, replace bool) (m archive.Manifest, err error) {
	file, err := os.Open(path)
	if err != nil {
		return m, err
	}
	defer file.Close()
	s, err := stage(d.Dir, d.config.WorkspaceDir, diskfile.Patience)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	unpacked, err := archive.Read(file, s.unpacked(), transferLimits)
	if err != nil {
		return m, err
	}
	if unpacked.WorkerID == d.WorkerID() {
		return m, errors.New("the archive is of this very worker: nothing was changed")
	}
	if unpacked.Work == "" {
		unpacked.Work = s.nothing()
	}
	if err := errors.Join(d.idle(ctx, unpacked.SessionID), s.settle()); err != nil {
		return m, err
	}
	return unpacked.Manifest, d.place(unpacked, s, replace)
}

// idle refuses a session that runs here.
func (d *disk) idle(ctx context.Context, sessionID string) error {
	_, sessions, err := d.sessions(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has never served
	}
	if slices.ContainsFunc(sessions, func(s journal.Session) bool { return s.ID == sessionID && s.Running && d.running }) {
		err = fmt.Errorf("the session %q runs on this worker: nothing was changed", sessionID)
	}
	return err
}

// place moves what was unpacked to where it belongs: the thread first, which nobody
// looks for without the workspace.
func (d *disk) place(u archive.Unpacked, s *staging, replace bool) error {
	workspace, err := d.workspace(u.SessionID)
	if err != nil {
		return err
	}
	if !replace {
		for _, rel := range u.Threads {
			if err := same(filepath.Join(u.Sessions, rel), filepath.Join(d.threads(), rel)); err != nil {
				return err
			}
		}
		if left, err := os.ReadDir(workspace); len(left) > 0 {
			return &OccupiedError{workspace}
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, rel := range u.Threads {
		if err := d.takeThread(filepath.Join(u.Sessions, rel), filepath.Join(d.threads(), rel)); err != nil {
			return err
		}
	}
	return s.swap(u.Work, workspace)
}

// takeThread copies a thread's file, perhaps to another disk, with the directories
// that lead to it.
func (d *disk) takeThread(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := diskfile.Write(to, func(w io.Writer) error { _, err := io.Copy(w, in); return err }); err != nil {
		return err
	}
	for dir := filepath.Dir(to); strings.HasPrefix(dir, d.threads()); {
		dir = filepath.Dir(dir)
		if err := diskfile.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// same returns nil when a file is not there, or has the same content.
func same(file, there string) error {
	have, err := os.ReadFile(there)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	content, err := os.ReadFile(file)
	if err == nil && !bytes.Equal(have, content) {
		err = &OccupiedError{there}
	}
	return err
}
