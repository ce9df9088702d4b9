package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/store"
)

// crashStore names, in the environment of a child, the database it is to write
// to until it is killed.
const crashStore = "TELECODEX_TEST_CRASH_STORE"

// writeUntilKilled takes up where the last process was killed and says on
// standard output what it was promised: one line once an update is committed,
// one once it is finished.
func writeUntilKilled(path string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	db, err := store.Open(ctx, path, zap.NewNop())
	fail(err)
	s, err := db.Acquire(ctx, bot, nil)
	fail(err)
	for {
		cursor, err := s.Cursor(ctx)
		fail(err)
		id := max(cursor.NextOffset, 1)
		_, err = s.Ingest(ctx, []store.NewUpdate{prompt(id, fmt.Sprint("prompt ", id))}, began)
		fail(err)
		fmt.Println("committed", id)
		for {
			head, ok, err := s.Head(ctx, "telegram:42")
			fail(err)
			if !ok {
				break
			}
			switch head.State { // of a turn that the last process had begun
			case store.Queued:
				fail(s.Assign(ctx, head.ID, worker, "j", ""))
				fallthrough
			case store.Assigned:
				fail(s.Accept(ctx, head.ID, "j"))
			}
			fail(second(s.Finish(ctx, head.ID, store.Outcome{Name: "succeeded"}, answer(head.Prompt))))
			fmt.Println("finished", head.Key.UpdateID)
		}
	}
}

func TestNothingIsLostOrDoneTwiceWhenTheProcessIsKilled(t *testing.T) {
	both(t, func(t *testing.T, at place) {
		const kills = 5
		path := at(t)
		promised := map[string]int64{}
		for n := range kills {
			for what, id := range runAndKill(t, path, 5+7*n) {
				if id <= promised[what] && what == "finished" {
					t.Errorf("update %d was finished twice", id)
				}
				promised[what] = id
			}
		}
		d := &desk{t: t, path: path}
		d.db, d.Store = open(t, path)
		defer d.db.Close()
		cursor, err := d.Cursor(t.Context())
		d.must(err)
		if cursor.NextOffset <= promised["committed"] {
			t.Errorf("update %d was committed; the cursor is at %d", promised["committed"], cursor.NextOffset)
		}
		for id := int64(1); id < cursor.NextOffset; id++ {
			trace, err := d.Trace(t.Context(), id, 0)
			d.must(err)
			answers := 0
			if trace.Update.State == store.Finished {
				answers = 1
			} else if id <= promised["finished"] {
				t.Errorf("update %d was finished; it is %s", id, trace.Update.State)
			}
			if len(trace.Outbox) != answers || len(trace.Turns) > 1 {
				t.Errorf("update %d: %d turns, %d messages, %s", id, len(trace.Turns), len(trace.Outbox), trace.Update.State)
			}
		}
		if promised["finished"] < kills {
			t.Errorf("only %d updates were finished", promised["finished"])
		}
	})
}

// runAndKill lets a child write, kills it once it has made some promises, and
// returns the newest of each kind.
func runAndKill(t *testing.T, path string, promises int) map[string]int64 {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), crashStore+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	newest := map[string]int64{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var what string
		var id int64
		if _, err := fmt.Sscan(lines.Text(), &what, &id); err != nil {
			t.Errorf("the child says %q", lines.Text())
			break
		}
		newest[what] = id
		if promises--; promises == 0 {
			// It goes on writing until the kill arrives, wherever it then is;
			// what it still promises counts.
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	return newest
}
