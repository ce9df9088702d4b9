package orchestrator_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/orchestrator"
)

// wantFailure checks code, reason and field of a call's error.
func wantFailure(t testing.TB, err error, code, reason, field string) {
	t.Helper()
	if got := status.Code(err).String(); got != code {
		t.Errorf("code = %s of %v, want %s", got, err, code)
	}
	if got := rpc.ReasonName(rpc.ReasonOf(err)); got != reason {
		t.Errorf("reason = %s of %v, want %s", got, err, reason)
	}
	if field == "" {
		return
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetMetadata()["field"] != field {
			t.Errorf("field = %q, want %q", info.GetMetadata()["field"], field)
		}
	}
	if !strings.Contains(err.Error(), field) {
		t.Errorf("%v does not name %s", err, field)
	}
}

func TestBadRequestsAreRefusedAndNameTheField(t *testing.T) {
	t.Parallel()
	roots := t.TempDir()
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(roots, "way_out")); err != nil {
		t.Logf("no symbolic links here: %v", err)
	}
	if err := os.WriteFile(filepath.Join(roots, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, func(c *orchestrator.Config) { c.WorkspaceRoots = []string{roots} })
	type r = orchestratorv1.RunTurnRequest
	extension := func(key string, value any) func(*r) {
		v, err := structpb.NewValue(value)
		if err != nil {
			t.Fatal(err)
		}
		return func(r *r) { r.Extensions = map[string]*structpb.Value{key: v} }
	}
	env := func(name, value string) func(*r) { return func(r *r) { r.Env = map[string]string{name: value} } }
	limit := func(d *durationpb.Duration) func(*r) { return func(r *r) { r.Timeout = d } }
	dir := func(path string) func(*r) { return func(r *r) { r.WorkingDir = path } }
	for _, tt := range []struct {
		name   string
		change func(*r)
		field  string
	}{
		{"no turn id", func(r *r) { r.TurnId = "" }, "turn_id"},
		{"long turn id", func(r *r) { r.TurnId = strings.Repeat("a", 129) }, "turn_id"},
		{"turn id beyond ASCII", func(r *r) { r.TurnId = "tür" }, "turn_id"},
		{"turn id with a line end", func(r *r) { r.TurnId = "a\nb" }, "turn_id"},
		{"no session id", func(r *r) { r.SessionId = "" }, "session_id"},
		{"long session id", func(r *r) { r.SessionId = strings.Repeat("a", 257) }, "session_id"},
		{"thread id is no UUID", func(r *r) { r.ThreadId = "latest" }, "thread_id"},
		{"thread id in braces", func(r *r) { r.ThreadId = "{01a1ffd2-7c2a-7ba3-b974-221e2ce82709}" }, "thread_id"},
		{"no prompt", func(r *r) { r.Prompt = "" }, "prompt"},
		{"blank prompt", func(r *r) { r.Prompt = " \n\t\u00a0" }, "prompt"},
		{"long prompt", func(r *r) { r.Prompt = strings.Repeat("a", 1<<20+1) }, "prompt"},
		{"prompt with NUL", func(r *r) { r.Prompt = "a\x00b" }, "prompt"},
		{"no time", limit(durationpb.New(0)), "timeout"},
		{"negative time", limit(durationpb.New(-time.Second)), "timeout"},
		{"too much time", limit(durationpb.New(7*24*time.Hour + 1)), "timeout"},
		{"time beyond Go's", limit(&durationpb.Duration{Seconds: 300_000_000_000}), "timeout"},
		{"malformed time", limit(&durationpb.Duration{Seconds: 1, Nanos: -1}), "timeout"},
		{"relative directory", dir("sub"), "working_dir"},
		{"missing directory", dir(filepath.Join(roots, "missing")), "working_dir"},
		{"file as directory", dir(filepath.Join(roots, "file")), "working_dir"},
		{"directory outside", dir(outside), "working_dir"},
		{"directory outside by dots", dir(roots + "/../" + filepath.Base(outside)), "working_dir"},
		{"directory outside by a link", dir(filepath.Join(roots, "way_out")), "working_dir"},
		{"HOME", env("HOME", "/"), "env"},
		{"CODEX_HOME", env("CODEX_HOME", "/"), "env"},
		{"LD_PRELOAD", env("LD_PRELOAD", "x"), "env"},
		{"DYLD_INSERT_LIBRARIES", env("DYLD_INSERT_LIBRARIES", "x"), "env"},
		{"variable name with a dash", env("A-B", "x"), "env"},
		{"empty variable name", env("", "x"), "env"},
		{"value with NUL", env("A", "x\x00"), "env"},
		{"large environment", env("A", strings.Repeat("x", 64<<10)), "env"},
		{"unknown sandbox", extension("backend.codex.exec.sandbox_mode", "none"), "backend.codex.exec.sandbox_mode"},
		{"sandbox that is not allowed", extension("backend.codex.exec.sandbox_mode", "danger-full-access"), "backend.codex.exec.sandbox_mode"},
		{"sandbox of a wrong type", extension("backend.codex.exec.sandbox_mode", 7), "backend.codex.exec.sandbox_mode"},
		{"approval although nobody is there", extension("backend.codex.exec.approval_policy", "on-request"), "backend.codex.exec.approval_policy"},
		{"non_interactive of a wrong type", extension("agent_api.exec.non_interactive", "yes"), "agent_api.exec.non_interactive"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := request("t1", "echo")
			tt.change(request)
			_, err := w.run(request).accepted()
			wantFailure(t, err, "InvalidArgument", "INVALID_REQUEST", tt.field)
		})
	}
	t.Run("unknown extension before its value and everything behind it", func(t *testing.T) {
		r := request("t1", "echo")
		extension("backend.other.flag", 1)(r)
		r.Extensions["backend.codex.exec.sandbox_mode"] = structpb.NewNumberValue(1)
		r.WorkingDir = "nowhere"
		_, err := w.run(r).accepted()
		wantFailure(t, err, "InvalidArgument", "UNSUPPORTED_CAPABILITY", "backend.other.flag")
	})
	list, err := w.ListTurns(t.Context(), &orchestratorv1.ListTurnsRequest{})
	if err != nil || len(list.GetTurns()) != 0 {
		t.Errorf("turns were journaled: %v, %v", list, err)
	}
}

func TestOtherCallsValidateTheirFields(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := t.Context()
	long := strings.Repeat("a", 129)
	for name, call := range map[string]func() error{
		"turn_id of GetTurn": func() error { _, err := w.GetTurn(ctx, &orchestratorv1.GetTurnRequest{}); return err },
		"turn_id of CancelTurn": func() error {
			_, err := w.CancelTurn(ctx, &orchestratorv1.CancelTurnRequest{TurnId: long})
			return err
		},
		"turn_id of AcknowledgeTurn": func() error {
			_, err := w.AcknowledgeTurn(ctx, &orchestratorv1.AcknowledgeTurnRequest{TurnId: "\x7f"})
			return err
		},
		"turn_id of WatchTurn": func() error { _, err := w.watch("", 0).accepted(); return err },
		"page_size of ListTurns": func() error {
			_, err := w.ListTurns(ctx, &orchestratorv1.ListTurnsRequest{PageSize: -1})
			return err
		},
		"page_token of ListTurns": func() error {
			_, err := w.ListTurns(ctx, &orchestratorv1.ListTurnsRequest{PageToken: "!"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			field, _, _ := strings.Cut(name, " ")
			wantFailure(t, call(), "InvalidArgument", "INVALID_REQUEST", field)
		})
	}
}

func TestUnknownTurnAndWrongJournal(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := t.Context()
	_, err := w.GetTurn(ctx, &orchestratorv1.GetTurnRequest{TurnId: "t1"})
	wantFailure(t, err, "NotFound", "TURN_UNKNOWN", "turn_id")
	_, err = w.AcknowledgeTurn(ctx, &orchestratorv1.AcknowledgeTurnRequest{TurnId: "t1"})
	wantFailure(t, err, "NotFound", "TURN_UNKNOWN", "turn_id")
	_, err = w.watch("t1", 0).accepted()
	wantFailure(t, err, "NotFound", "TURN_UNKNOWN", "turn_id")

	r := request("t1", "echo")
	r.ExpectedJournalId = "another"
	_, err = w.run(r).accepted()
	wantFailure(t, err, "FailedPrecondition", "JOURNAL_MISMATCH", "expected_journal_id")
	watch, err := w.WatchTurn(ctx, &orchestratorv1.WatchTurnRequest{TurnId: "t1", ExpectedJournalId: "another"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = watch.Recv()
	wantFailure(t, err, "FailedPrecondition", "JOURNAL_MISMATCH", "expected_journal_id")
	r.ExpectedJournalId = w.status().GetJournalId()
	if _, finished := w.finish(r); outcome(finished) != "SUCCEEDED" {
		t.Errorf("finished = %v", finished)
	}
}

func TestBusySessionFullWorkerAndReusedID(t *testing.T) {
	t.Parallel()
	w := start(t, func(c *orchestrator.Config) { c.MaxTurns = 2 })
	first := w.begin(request("t1", "hang"), 2)

	again := request("t2", "echo")
	again.SessionId = "telegram:t1"
	_, err := w.run(again).accepted()
	wantFailure(t, err, "Aborted", "SESSION_BUSY", "")

	w.begin(request("t3", "hang"), 2)
	_, err = w.run(request("t4", "echo")).accepted()
	wantFailure(t, err, "ResourceExhausted", "WORKER_FULL", "")
	if rpc.RetryAfter(err) <= 0 {
		t.Error("the full worker does not say when to try again")
	}
	for _, id := range []string{"t2", "t4"} {
		_, err := w.GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{TurnId: id})
		wantFailure(t, err, "NotFound", "TURN_UNKNOWN", "")
	}

	w.cancelTurn("t1")
	w.end(first)
	// The session and the slot are free as soon as the end is seen.
	if _, finished := w.finish(again); outcome(finished) != "SUCCEEDED" {
		t.Errorf("finished = %v", finished)
	}

	for name, change := range map[string]func(*orchestratorv1.RunTurnRequest){
		"prompt":      func(r *orchestratorv1.RunTurnRequest) { r.Prompt = "other" },
		"session_id":  func(r *orchestratorv1.RunTurnRequest) { r.SessionId = "other" },
		"thread_id":   func(r *orchestratorv1.RunTurnRequest) { r.ThreadId = "01a1ffd2-7c2a-7ba3-b974-221e2ce82709" },
		"working_dir": func(r *orchestratorv1.RunTurnRequest) { r.WorkingDir = t.TempDir() },
	} {
		for _, id := range []string{"t1", "t3"} { // ended, running
			r := request(id, "hang")
			change(r)
			_, err := w.run(r).accepted()
			if t.Run(name+" of "+id, func(t *testing.T) { wantFailure(t, err, "AlreadyExists", "TURN_ID_REUSED", "turn_id") }); err == nil {
				break
			}
		}
	}
}

func TestTombstone(t *testing.T) {
	t.Parallel()
	w := start(t)
	turn := w.cancelTurn("t1")
	if !turn.GetTombstone() || turn.GetState() != orchestratorv1.TurnState_TURN_STATE_CANCELLED || turn.GetLastSequence() != 1 {
		t.Errorf("tombstone = %v", turn)
	}
	stream := w.run(request("t1", "echo"))
	if accepted, err := stream.accepted(); err != nil || !accepted.GetAttached() {
		t.Fatalf("accepted = %v, %v", accepted, err)
	}
	events, err := stream.events()
	if err != nil || len(events) != 1 {
		t.Fatalf("events = %v, %v", events, err)
	}
	if finished := w.checkEvents("t1", 0, events); outcome(finished) != "CANCELLED CANCELLED" {
		t.Errorf("finished = %v", finished)
	}
	if again := w.cancelTurn("t1"); !again.GetTombstone() {
		t.Errorf("cancelled again it is %v", again)
	}
}

func TestAcknowledge(t *testing.T) {
	t.Parallel()
	w := start(t)
	stream := w.begin(request("t1", "hang"), 2)
	acknowledge := func() error {
		_, err := w.AcknowledgeTurn(t.Context(), &orchestratorv1.AcknowledgeTurnRequest{TurnId: "t1"})
		return err
	}
	wantFailure(t, acknowledge(), "FailedPrecondition", "INVALID_REQUEST", "turn_id")
	w.cancelTurn("t1")
	w.end(stream)
	for range 2 {
		if err := acknowledge(); err != nil {
			t.Error(err)
		}
	}
	if !w.turn("t1").GetAcknowledged() {
		t.Error("not noted")
	}
}

func TestListTurns(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, id := range []string{"t1", "t2", "t3"} {
		w.cancelTurn(id)
	}
	if _, err := w.AcknowledgeTurn(t.Context(), &orchestratorv1.AcknowledgeTurnRequest{TurnId: "t2"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		r    *orchestratorv1.ListTurnsRequest
		want string
	}{
		{&orchestratorv1.ListTurnsRequest{}, "t1 t2 t3"},
		{&orchestratorv1.ListTurnsRequest{PageSize: 1}, "t1 | t2 | t3"},
		{&orchestratorv1.ListTurnsRequest{PageSize: 2}, "t1 t2 | t3"},
		{&orchestratorv1.ListTurnsRequest{PageSize: 5000, UnacknowledgedOnly: true}, "t1 t3"},
	} {
		var pages []string
		for {
			response, err := w.ListTurns(t.Context(), tt.r)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, turn := range response.GetTurns() {
				ids = append(ids, turn.GetTurnId())
			}
			pages = append(pages, strings.Join(ids, " "))
			if tt.r.PageToken = response.GetNextPageToken(); tt.r.GetPageToken() == "" {
				break
			}
		}
		if got := strings.Join(pages, " | "); got != tt.want {
			t.Errorf("pages of %d: %s, want %s", tt.r.GetPageSize(), got, tt.want)
		}
	}
}
