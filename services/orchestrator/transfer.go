package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/archive"
	"telecodex.dev/services/orchestrator/internal/journal"
	"telecodex.dev/services/orchestrator/internal/server"
	"telecodex.dev/services/orchestrator/internal/statedir"
)

// transferLimits bound what an archive unpacks to.
var transferLimits = archive.Limits{Bytes: 32 << 30, Entries: 4 << 20}

// BusyError says that a worker may change what is to be moved.
type BusyError struct{ StateDir string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("the worker of %s takes turns: nothing was changed; run `orchestrator drain` first, or stop it", e.StateDir)
}

// disk is a worker's disk that nobody changes: that of a worker that does not run,
// or is drained and empty.
type disk struct {
	*statedir.Dir
	config  Config
	running bool
}

// quiet takes hold of the disk that the settings name. One that a worker uses is
// only looked at. Errors: fs.ErrNotExist; *BusyError.
func quiet(ctx context.Context, c Config) (*disk, error) {
	d, err := still(ctx, c)
	if err != nil || !d.running {
		return d, err
	}
	state, err := ask(ctx, c)
	if err == nil && (state.GetWorkerId() != d.WorkerID() || !state.GetDraining() || state.GetSlotsUsed() > 0) {
		err = &BusyError{d.config.StateDir}
	}
	return d, err
}

// still is quiet without asking whether the worker takes turns.
func still(ctx context.Context, c Config) (*disk, error) {
	path, err := c.ownDir(ctx)
	if err != nil {
		return nil, err
	}
	used, err := statedir.InUse(path)
	if err != nil {
		return nil, err
	}
	d := &disk{running: used}
	if d.Dir, err = statedir.Peek(path); err == nil && !used {
		d.Dir, err = statedir.Open(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("no worker was ever started with %s, which ORCHESTRATOR_STATE_DIR names: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	if d.config, err = c.at(d.Dir); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// ownDir is the state directory of the worker that was started with the settings:
// where workers share a volume, the worker itself says which slot it has.
func (c Config) ownDir(ctx context.Context) (string, error) {
	if c.StateSlotsDir == "" {
		return c.StateDir, nil
	}
	state, err := ask(ctx, c)
	if err != nil {
		return "", fmt.Errorf("only a worker that runs can say which slot of %s it has (of one that does not: "+
			"--state-slots-dir= --state-dir SLOT --codex-home SLOT/codex): %w", c.StateSlotsDir, err)
	}
	slots, err := os.ReadDir(c.StateSlotsDir)
	if err != nil {
		return "", err
	}
	for _, slot := range slots {
		path := filepath.Join(c.StateSlotsDir, slot.Name())
		if dir, err := statedir.Peek(path); err == nil && dir.WorkerID() == state.GetWorkerId() {
			return path, nil
		}
	}
	return "", fmt.Errorf("worker %s has no slot of %s", state.GetWorkerId(), c.StateSlotsDir)
}

// ask is what the running worker says of itself.
func ask(ctx context.Context, c Config) (*orchestratorv1.WatchWorkerResponse, error) {
	client, done, err := c.reach()
	if err != nil {
		return nil, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	stream, err := client.WatchWorker(ctx, &orchestratorv1.WatchWorkerRequest{})
	if err != nil {
		return nil, unanswered(err)
	}
	state, err := stream.Recv()
	return state, unanswered(err)
}

// sessions are those that the worker's journal knows.
func (d *disk) sessions(ctx context.Context) (journalID string, all []journal.Session, err error) {
	return journal.Sessions(ctx, d.Journal())
}

func (d *disk) threads() string { return filepath.Join(d.config.CodexHome, "sessions") }

// workspace is a session's own directory; it need not exist.
func (d *disk) workspace(sessionID string) (string, error) {
	return server.Workspaces{Root: d.config.WorkspaceDir}.Dir(sessionID, "")
}
