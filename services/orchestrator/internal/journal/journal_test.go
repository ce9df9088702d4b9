package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/orchestrator/internal/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Unix(1_700_000_000, 123)

func open(t testing.TB, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { mustClose(t, j) }) })
	return j
}

func mustClose(t testing.TB, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func accept(t testing.TB, j *journal.Journal, turnID string) (journal.Record, *journal.Log) {
	t.Helper()
	r, log, err := j.Accept(journal.NewTurn{TurnID: turnID, SessionID: "telegram:1", Digest: journal.DigestOf("telegram:1", "", "hi", ""), Created: epoch})
	if err != nil || log == nil {
		t.Fatalf("Accept() = %v, %v", log, err)
	}
	return r, log
}

// texts makes n events from sequence first on, each with size bytes of text.
func texts(turnID string, first, n, size int) []*orchestratorv1.TurnEvent {
	events := make([]*orchestratorv1.TurnEvent, n)
	for i := range events {
		events[i] = &orchestratorv1.TurnEvent{
			TurnId: turnID, Sequence: uint64(first + i), OccurredAt: timestamppb.New(epoch),
			Kind: orchestratorv1.EventKind_EVENT_KIND_TEXT_OUTPUT, Channel: "assistant",
			Text: strings.Repeat(string(rune('a'+(first+i)%26)), size),
		}
	}
	return events
}

func finished(turnID string, sequence int) *orchestratorv1.TurnEvent {
	return &orchestratorv1.TurnEvent{TurnId: turnID, Sequence: uint64(sequence), OccurredAt: timestamppb.New(epoch),
		Kind: orchestratorv1.EventKind_EVENT_KIND_STATUS, Channel: "status", Detail: &orchestratorv1.TurnEvent_Finished{
			Finished: &orchestratorv1.Finished{State: orchestratorv1.TurnState_TURN_STATE_SUCCEEDED, FinalText: "done"}}}
}

func finish(t testing.TB, log *journal.Log, turnID string, sequence int) {
	t.Helper()
	event := finished(turnID, sequence)
	wait(t, log, []*orchestratorv1.TurnEvent{event}, journal.Update{State: event.GetFinished().GetState(), Finished: event, FinishedAt: epoch})
}

// commit appends and waits for the commit.
func commit(log *journal.Log, events []*orchestratorv1.TurnEvent, update journal.Update) error {
	result := make(chan error, 1)
	if err := log.Append(events, update, func(err error) { result <- err }); err != nil {
		return err
	}
	return <-result
}

func wait(t testing.TB, log *journal.Log, events []*orchestratorv1.TurnEvent, update journal.Update) {
	t.Helper()
	if err := commit(log, events, update); err != nil {
		t.Fatal(err)
	}
}

// readAll reads every event beyond after.
func readAll(t testing.TB, j *journal.Journal, row int64, after uint64) (all []*orchestratorv1.TurnEvent) {
	t.Helper()
	for {
		events, err := j.Events(t.Context(), row, after)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			return all
		}
		all = append(all, events...)
		after = events[len(events)-1].GetSequence()
	}
}

func encoded(events []*orchestratorv1.TurnEvent) (out []byte) {
	for _, event := range events {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(event)
		if err != nil {
			panic(err)
		}
		out = append(append(out, body...), '\n')
	}
	return out
}

func TestEventsAreReadFromEverySequenceAsTheyWereWritten(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	r, log := accept(t, j, "t1")
	want := texts("t1", 1, 40, 100)
	want = append(want, texts("t1", 41, 12, 60_000)...) // more than one segment
	for start := 0; start < len(want); start += 7 {
		wait(t, log, want[start:min(start+7, len(want))], journal.Update{})
	}
	for after := range uint64(len(want) + 2) {
		got := readAll(t, j, r.Row, after)
		if !bytes.Equal(encoded(want[min(int(after), len(want)):]), encoded(got)) {
			t.Fatalf("after %d the events differ", after)
		}
	}
}

func TestRecordFollowsTheTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path)
	r, log := accept(t, j, "t1")
	if r.State != orchestratorv1.TurnState_TURN_STATE_QUEUED || !r.CreatedAt.Equal(epoch) || r.LastSequence != 0 || r.Finished != nil {
		t.Errorf("accepted as %+v", r)
	}
	wait(t, log, nil, journal.Update{State: orchestratorv1.TurnState_TURN_STATE_RUNNING, Started: epoch.Add(1)})
	wait(t, log, texts("t1", 1, 3, 10), journal.Update{ThreadID: "thread"})
	r = get(t, j, "t1")
	if r.State != orchestratorv1.TurnState_TURN_STATE_RUNNING || r.ThreadID != "thread" || r.LastSequence != 3 || !r.StartedAt.Equal(epoch.Add(1)) {
		t.Errorf("running as %+v", r)
	}
	finish(t, log, "t1", 4)
	r = get(t, j, "t1")
	if r.State != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED || r.LastSequence != 4 || r.ThreadID != "thread" ||
		r.Finished.GetFinished().GetFinalText() != "done" || !r.FinishedAt.Equal(epoch) {
		t.Errorf("finished as %+v", r)
	}
}

func get(t testing.TB, j *journal.Journal, turnID string) journal.Record {
	t.Helper()
	r, err := j.Get(t.Context(), turnID)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReopenedJournalKeepsItsIDAndKnowsWhatIsUnfinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	id := j.ID()
	_, ended := accept(t, j, "ended")
	_, running := accept(t, j, "running")
	accept(t, j, "queued")
	finish(t, ended, "ended", 1)
	wait(t, running, texts("running", 1, 5, 10), journal.Update{})
	mustClose(t, j)

	j = open(t, path)
	if j.ID() != id || id == "" {
		t.Errorf("id was %q, is %q", id, j.ID())
	}
	records, logs, err := j.Unfinished(t.Context())
	if err != nil || len(records) != 2 || records[0].TurnID != "running" || records[1].TurnID != "queued" || records[0].LastSequence != 5 {
		t.Fatalf("Unfinished() = %+v, %v", records, err)
	}
	finish(t, logs[0], "running", 6)
	finish(t, logs[1], "queued", 1)
	if records, _, err := j.Unfinished(t.Context()); err != nil || len(records) != 0 {
		t.Fatalf("Unfinished() = %+v, %v", records, err)
	}
}

func TestKnownIDIsNotAcceptedAgain(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	first, _ := accept(t, j, "t1")
	again, log, err := j.Accept(journal.NewTurn{TurnID: "t1", SessionID: "other", Created: epoch})
	if err != nil || log != nil {
		t.Fatalf("Accept() = %v, %v", log, err)
	}
	if again.SessionID != first.SessionID || again.Digest != first.Digest {
		t.Errorf("the record changed to %+v", again)
	}
}

func TestTombstoneEndsAnIDBeforeItRan(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	r, err := j.Tombstone(finished("t1", 1))
	if err != nil || !r.Tombstone || r.LastSequence != 1 || r.Finished == nil {
		t.Fatalf("Tombstone() = %+v, %v", r, err)
	}
	if _, log, err := j.Accept(journal.NewTurn{TurnID: "t1", Created: epoch}); err != nil || log != nil {
		t.Errorf("the tombstone was run: %v, %v", log, err)
	}
	if events := readAll(t, j, r.Row, 0); len(events) != 1 || events[0].GetFinished() == nil {
		t.Errorf("events = %v", events)
	}
	accept(t, j, "t2")
	if r, err := j.Tombstone(finished("t2", 1)); err != nil || r.Tombstone {
		t.Errorf("a live turn was buried: %+v, %v", r, err)
	}
}

func TestDigestTellsInputsApart(t *testing.T) {
	seen := map[journal.Digest]bool{}
	for _, in := range [][4]string{{"a", "b", "c", "d"}, {"ab", "", "c", "d"}, {"a", "bc", "", "d"}, {"a", "b", "cd", ""}, {"", "", "", "abcd"}} {
		seen[journal.DigestOf(in[0], in[1], in[2], in[3])] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d digests of 5 inputs", len(seen))
	}
}

func TestAcknowledge(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	_, log := accept(t, j, "t1")
	if err := j.Acknowledge("t0", epoch); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("of an unknown turn: %v", err)
	}
	if err := j.Acknowledge("t1", epoch); !errors.Is(err, journal.ErrUnfinished) {
		t.Errorf("of a running turn: %v", err)
	}
	finish(t, log, "t1", 1)
	for range 2 {
		if err := j.Acknowledge("t1", epoch); err != nil {
			t.Errorf("of an ended turn: %v", err)
		}
	}
	if !get(t, j, "t1").Acknowledged {
		t.Error("not noted")
	}
}

func TestATurnIsNeverOlderThanTheOneBefore(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	accept(t, j, "t1")
	r, _, err := j.Accept(journal.NewTurn{TurnID: "t2", Created: epoch.Add(-time.Hour)})
	if err != nil || !r.CreatedAt.Equal(epoch) {
		t.Errorf("created at %v, %v", r.CreatedAt, err)
	}
}

func TestListPagesInOrderOfCreation(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	for i := range 10 {
		id := fmt.Sprintf("t%d", i)
		_, log := accept(t, j, id)
		finish(t, log, id, 1)
		if i%2 == 0 {
			if err := j.Acknowledge(id, epoch); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name  string
		page  journal.Page
		want  string
		pages int
	}{
		{"all", journal.Page{Limit: 4, Bytes: 1 << 20}, "t0 t1 t2 t3 t4 t5 t6 t7 t8 t9", 3},
		{"unacknowledged", journal.Page{Limit: 5, Bytes: 1 << 20, UnacknowledgedOnly: true}, "t1 t3 t5 t7 t9", 1},
		{"bounded by bytes", journal.Page{Limit: 100, Bytes: 1}, "t0 t1 t2 t3 t4 t5 t6 t7 t8 t9", 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ids []string
			pages := 0
			for more := true; more; pages++ {
				var records []journal.Record
				var err error
				if records, more, err = j.List(t.Context(), tt.page); err != nil {
					t.Fatal(err)
				}
				for _, r := range records {
					ids = append(ids, r.TurnID)
					tt.page.AfterRow = r.Row
				}
			}
			if got := strings.Join(ids, " "); got != tt.want || pages != tt.pages {
				t.Errorf("%d pages: %s", pages, got)
			}
		})
	}
}

func TestAppendWithAHoleIsRefusedAlone(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	r, log := accept(t, j, "t1")
	wait(t, log, texts("t1", 1, 2, 10), journal.Update{})
	if err := commit(log, texts("t1", 4, 1, 10), journal.Update{}); !errors.Is(err, journal.ErrGap) {
		t.Errorf("a hole: %v", err)
	}
	if err := commit(log, texts("t1", 2, 1, 10), journal.Update{}); !errors.Is(err, journal.ErrGap) {
		t.Errorf("a sequence twice: %v", err)
	}
	wait(t, log, texts("t1", 3, 1, 10), journal.Update{})
	if n := len(readAll(t, j, r.Row, 0)); n != 3 {
		t.Errorf("%d events", n)
	}
}

func TestManyTurnsAppendAtOnce(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"))
	var group sync.WaitGroup
	for i := range 16 {
		id := fmt.Sprintf("t%d", i)
		r, log := accept(t, j, id)
		group.Go(func() {
			var calls int // only touched in the order of commits
			done := make(chan struct{})
			for n := range 50 {
				err := log.Append(texts(id, n*10+1, 10, 200), journal.Update{}, func(err error) {
					if err != nil || calls != n {
						t.Errorf("commit %d came as call %d: %v", n, calls, err)
					}
					if calls++; calls == 50 {
						close(done)
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
			<-done
			if !bytes.Equal(encoded(texts(id, 1, 500, 200)), encoded(readAll(t, j, r.Row, 0))) {
				t.Errorf("the events of %s differ", id)
			}
		})
	}
	group.Wait()
}

func TestClosedJournalRefusesWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	_, log := accept(t, j, "t1")
	committed := make(chan error, 1)
	if err := log.Append(texts("t1", 1, 1, 10), journal.Update{}, func(err error) { committed <- err }); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	if err := <-committed; err != nil {
		t.Errorf("what was handed in before: %v", err)
	}
	if err := commit(log, texts("t1", 2, 1, 10), journal.Update{}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Append() = %v", err)
	}
	if _, _, err := j.Accept(journal.NewTurn{TurnID: "t2"}); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Accept() = %v", err)
	}
}

func TestPromptIsNotStored(t *testing.T) {
	const prompt = "PROMPT_DO_NOT_STORE"
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := journal.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	turn := journal.NewTurn{TurnID: "t1", SessionID: "s", Digest: journal.DigestOf("s", "", prompt, ""), Created: epoch}
	if _, _, err := j.Accept(turn); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if content, err := os.ReadFile(file); err != nil || bytes.Contains(content, []byte(prompt)) {
			t.Errorf("%s holds the prompt (%v)", filepath.Base(file), err)
		}
	}
}
