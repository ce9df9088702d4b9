package cycle_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
)

// row is what a code says about every detail that has it.
type row struct {
	source, category, layer, operation string
	retryable                          bool
}

// table is the contract's table of codes.
func table() map[string]row {
	const once, orchestrator, adapter, wrapper = "process_once", "orchestrator.diagnostics", "adapter.diagnostics", "runtime-wrapper"
	return map[string]row{
		"adapter-fetch-exception":        {once, "error", "service", "fetch_updates", true},
		"update-processing-exception":    {once, "error", "service", "send_message", true},
		"ack-update-failed":              {once, "error", "service", "ack_update", true},
		"codex-timeout":                  {orchestrator, "error", "orchestrator", "handle_message", true},
		"codex-exec-failed":              {orchestrator, "error", "orchestrator", "handle_message", true},
		"codex-invalid-response":         {orchestrator, "error", "orchestrator", "handle_message", false},
		"codex-contract-violation":       {orchestrator, "error", "orchestrator", "handle_message", false},
		"allowlist-drop":                 {orchestrator, "drop", "gate", "allowlist_check", false},
		"stale-drop":                     {adapter, "drop", "adapter", "stale_filter", false},
		"cursor-state-load-error":        {adapter, "error", "adapter", "cursor_state_load", true},
		"cursor-state-save-error":        {adapter, "error", "adapter", "cursor_state_save", true},
		"runtime-process-once-exception": {wrapper, "error", wrapper, "run_cycle", true},
		"runtime-loop-cycle-exception":   {wrapper, "error", wrapper, "run_loop", true},
		"orchestrator-error":             {orchestrator, "error", "orchestrator", "handle_message", false},
		"adapter-diagnostic-error":       {adapter, "error", "adapter", "", false},
		"service-cycle-error":            {once, "error", "service", "", false},
		// Added to the origin's. What a turn was stopped for, by a person or by
		// its worker's end, is never done again by itself; nor is a message that
		// was sent twice sent once by trying again.
		"turn-interrupted":  {orchestrator, "error", "orchestrator", "handle_message", false},
		"turn-cancelled":    {orchestrator, "error", "orchestrator", "handle_message", false},
		"delivery-in-doubt": {once, "error", "service", "send_message", false},
	}
}

func TestEveryCodeSaysWhereItBelongs(t *testing.T) {
	for code, want := range table() {
		t.Run(code, func(t *testing.T) {
			s := newStage()
			c := s.Begin(time.Now())
			c.Add(cycle.Detail{Code: code, Message: "m", UpdateID: 5, ChatID: -6, SessionID: "telegram:-6"})
			c.Fetched(cycle.Batch{})
			r := s.reports[0]
			d := r.GetErrorDetails()[0]
			got := row{d.GetSource(), d.GetCategory(), d.GetContext().GetLayer(), d.GetContext().GetOperation(), d.GetRetryable()}
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			if id := fingerprint(code + "|m|5|-6|telegram:-6|" + want.layer + "|" + want.operation + "|" + want.category); d.GetDiagnosticId() != id {
				t.Errorf("diagnostic_id %s, want %s", d.GetDiagnosticId(), id)
			}
			errorCount, reason := int32(1), "completed-with-errors"
			if want.category == "drop" {
				errorCount, reason = 0, "no-updates"
			}
			if r.GetErrorCount() != errorCount || len(r.GetErrors()) != int(errorCount) || r.GetReason() != reason || r.GetStatus() != "ok" {
				t.Errorf("report %v", r)
			}
		})
	}
}

// TestTheTableKnowsEveryCode reads the codes from the source, so that none is
// added without a row above.
func TestTheTableKnowsEveryCode(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "detail.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, spec := range file.Decls[1].(*ast.GenDecl).Specs {
		code, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, code)
	}
	slices.Sort(codes)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(table())), codes); diff != "" {
		t.Error(diff)
	}
}

func TestACodeThatNobodyKnowsIsTheOrchestrators(t *testing.T) {
	s := newStage()
	c := s.Begin(time.Now())
	c.Add(cycle.Detail{Code: "new-code", Message: "m"})
	c.Fetched(cycle.Batch{})
	if d := s.reports[0].GetErrorDetails()[0]; d.GetSource() != "orchestrator.diagnostics" || d.GetContext().GetLayer() != "orchestrator" || d.GetRetryable() {
		t.Errorf("detail %v", d)
	}
}

// TestDiagnosticIdsAreTheOriginsOwn: two that the origin was seen to give.
func TestDiagnosticIdsAreTheOriginsOwn(t *testing.T) {
	s := newStage()
	c := s.Begin(time.Now())
	c.Fetched(cycle.Batch{Handed: handed(100000002), Dropped: refused(100000004)})
	s.Settled(key(100000002), "telegram:1000", cycle.Result{Code: cycle.CodexTimeout, Message: "TimeoutError: codex invocation timed out"})
	var got []string
	for _, d := range s.reports[0].GetErrorDetails() {
		got = append(got, d.GetCode()+" "+d.GetDiagnosticId())
	}
	if diff := cmp.Diff([]string{"allowlist-drop 26175386d27b9dda", "codex-timeout d3d094da4cba6308"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestAStaleDropHasTheOriginsId: its detail names the update alone.
func TestAStaleDropHasTheOriginsId(t *testing.T) {
	s := newStage()
	s.Begin(time.Now()).Fetched(cycle.Batch{Stale: []store.NewUpdate{{UpdateID: 5, ChatID: 1000}}, Floor: 77})
	r := s.reports[0]
	d, dropped := r.GetErrorDetails()[0], r.GetDroppedUpdates()[0]
	if want := fingerprint("stale-drop|dropped stale update 5 below committed floor 77|5|||adapter|stale_filter|drop"); d.GetDiagnosticId() != want {
		t.Errorf("diagnostic_id %s, want %s", d.GetDiagnosticId(), want)
	}
	if dropped.GetReason() != d.GetMessage() || dropped.GetChatId() != "1000" {
		t.Errorf("dropped %v", dropped)
	}
}

func fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:16]
}

// TestEachUpdateThatCannotBeAcknowledgedIsNamed: those of refused chats too, but
// none that is left.
func TestEachUpdateThatCannotBeAcknowledgedIsNamed(t *testing.T) {
	s := newStage()
	s.Begin(time.Now()).Fetched(cycle.Batch{Handed: handed(1, 2, 3), Dropped: refused(4), AckFailed: errors.New("disk full")})
	s.Settled(key(2), "telegram:1000", cycle.Result{Sent: true})
	s.Settled(key(1), "telegram:1000", cycle.Result{Code: cycle.CodexTimeout, Message: "m"})
	s.Settled(key(3), "telegram:1000", cycle.Result{Left: true})
	r := s.reports[0]
	var got []string
	for _, d := range r.GetErrorDetails() {
		if d.GetCode() == "ack-update-failed" {
			got = append(got, d.GetContext().GetUpdateId()+" "+d.GetDiagnosticId())
		}
	}
	var want []string
	for _, id := range []string{"4", "2", "1"} {
		want = append(want, id+" "+fingerprint("ack-update-failed|update "+id+": ack failed: CursorFileError: disk full|"+id+"|||service|ack_update|error"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r.GetStatus() != "ok" || r.GetReason() != "completed-with-errors" || r.GetErrorCount() != 4 || r.GetAckedCount() != 0 ||
		r.GetAckSkippedCount() != 1 || r.GetSentCount() != 1 {
		t.Errorf("report %v", r)
	}
}

func TestTheSameDetailAppearsOnce(t *testing.T) {
	s := newStage()
	c := s.Begin(time.Now())
	for _, d := range []cycle.Detail{
		{Code: cycle.CursorSaveError, Message: "a  b"},
		{Code: cycle.CursorSaveError, Message: "a\nb"}, // the same once it is tidied
		{Code: cycle.CursorSaveError, Message: "a c"},
		{Code: cycle.CursorSaveError, Message: "a b", UpdateID: 1},
		{Code: cycle.CursorSaveError, Message: "a b", Operation: "other"},
	} {
		c.Add(d)
	}
	c.Fetched(cycle.Batch{})
	r := s.reports[0]
	if diff := cmp.Diff([]string{"a b", "a c", "a b", "a b"}, r.GetErrors()); diff != "" || len(r.GetErrorDetails()) != 4 || r.GetErrorCount() != 4 {
		t.Errorf("%s\n%v", diff, r)
	}
}

// TestStatusAndReason: what a cycle is called, by what happened in it.
func TestStatusAndReason(t *testing.T) {
	trouble := cycle.Detail{Code: cycle.CursorSaveError, Message: "x"}
	answered := func(s *stage, c *cycle.Cycle) {
		c.Fetched(cycle.Batch{Handed: handed(1)})
		s.Settled(key(1), "", cycle.Result{Sent: true})
	}
	for name, tt := range map[string]struct {
		play           func(*stage, *cycle.Cycle)
		status, reason string
		errors         int32
	}{
		"nothing came": {func(_ *stage, c *cycle.Cycle) { c.Fetched(cycle.Batch{}) }, "ok", "no-updates", 0},
		"answered":     {answered, "ok", "processed", 0},
		"dropped":      {func(_ *stage, c *cycle.Cycle) { c.Fetched(cycle.Batch{Dropped: refused(1)}) }, "ok", "processed", 0},
		"stale": {func(_ *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Stale: []store.NewUpdate{{UpdateID: 1}}, Floor: 2})
		},
			"ok", "no-updates", 0},
		"nothing came, and trouble": {func(_ *stage, c *cycle.Cycle) { c.Add(trouble); c.Fetched(cycle.Batch{}) }, "ok", "completed-with-errors", 1},
		"answered, and trouble":     {func(s *stage, c *cycle.Cycle) { c.Add(trouble); answered(s, c) }, "ok", "completed-with-errors", 1},
		"a failed turn": {func(s *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Handed: handed(1)})
			s.Settled(key(1), "", cycle.Result{Code: cycle.CodexExecFailed, Message: "x"})
		}, "ok", "completed-with-errors", 1},
		"left alone": {func(s *stage, c *cycle.Cycle) {
			c.Fetched(cycle.Batch{Handed: handed(1)})
			s.Leave()
		}, "ok", "completed-with-errors", 1},
		"fetch failed": {func(_ *stage, c *cycle.Cycle) { c.Fetched(cycle.Batch{Failed: errors.New("x")}) }, "failed", "adapter-fetch-exception", 1},
		"fetch failed, and trouble": {func(_ *stage, c *cycle.Cycle) { c.Add(trouble); c.Fetched(cycle.Batch{Failed: errors.New("x")}) },
			"failed", "adapter-fetch-exception", 2},
		"run failed":  {func(_ *stage, c *cycle.Cycle) { c.Failed(cycle.ProcessOnceFailed, errors.New("x")) }, "failed", "runtime-process-once-exception", 1},
		"loop failed": {func(_ *stage, c *cycle.Cycle) { c.Failed(cycle.LoopCycleFailed, errors.New("x")) }, "failed", "runtime-loop-cycle-exception", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			tt.play(s, s.Begin(time.Now()))
			r := s.reports[0]
			if r.GetStatus() != tt.status || r.GetReason() != tt.reason || r.GetErrorCount() != tt.errors {
				t.Errorf("report %v", r)
			}
			// Whatever has happened, the telemetry is there and says the same.
			if c := r.GetTelemetry().GetCounters(); r.GetTelemetry().GetVersion() != "2.0" || c.GetFetchTotal() != r.GetFetchedCount() ||
				c.GetSendTotal() != r.GetSentCount() || c.GetDropTotal() != r.GetDroppedCount() || int(r.GetDroppedCount()) != len(r.GetDroppedUpdates()) {
				t.Errorf("telemetry %v of %v", r.GetTelemetry(), r)
			}
		})
	}
}

func TestWhatIsLeftIsSaid(t *testing.T) {
	s := newStage()
	c := s.Begin(time.Now())
	c.Fetched(cycle.Batch{Handed: handed(100000002)})
	s.Leave()
	r := s.reports[0]
	want := &diagnosticsv1.ErrorContext{UpdateId: "100000002", ChatId: "1000", SessionId: "telegram:1000", Layer: "service", Operation: "handle_message"}
	if d := r.GetErrorDetails()[0]; r.GetAckSkippedCount() != 1 || r.GetAckedCount() != 0 || d.GetCode() != cycle.ProcessingException ||
		!d.GetRetryable() || !strings.HasPrefix(d.GetMessage(), "update 100000002: ") || d.GetContext().String() != want.String() {
		t.Errorf("report %v", r)
	}
}

// TestDetailsThatComeBeforeTheirBatchCount, as results do.
func TestDetailsThatComeBeforeTheirBatchCount(t *testing.T) {
	s := newStage()
	c := s.Begin(time.Now())
	s.Diagnostic(key(1), cycle.Detail{Code: cycle.DeliveryInDoubt, Message: "x"})
	s.Retried(key(1))
	s.Diagnostic(key(7), cycle.Detail{Code: cycle.DeliveryInDoubt, Message: "of an earlier process"})
	c.Fetched(cycle.Batch{Handed: handed(1)})
	s.Settled(key(1), "", cycle.Result{Sent: true})
	r := s.reports[0]
	if diff := cmp.Diff([]string{"x"}, r.GetErrors()); diff != "" || r.GetTelemetry().GetCounters().GetRetryTotal() != 1 {
		t.Errorf("%s\n%v", diff, r)
	}
}

// TestAReceiverHoldsBackOneReportAlone: others are handed out meanwhile, Flush
// waits, and what concerns no update is not added to what is under way.
func TestAReceiverHoldsBackOneReportAlone(t *testing.T) {
	asked, release := make(chan *telemetryv1.CycleReport, 1), make(chan int)
	var reports []*telemetryv1.CycleReport
	tracker := cycle.NewTracker(func(r *telemetryv1.CycleReport) { reports = append(reports, r) }, cycle.Options{
		Heartbeat: func(r *telemetryv1.CycleReport) int { asked <- r; return <-release }})
	tracker.Begin(time.Now()).Fetched(cycle.Batch{Failed: errors.New("x")})
	<-asked
	tracker.Begin(time.Now()).Fetched(cycle.Batch{Handed: handed(1)})
	tracker.Settled(key(1), "", cycle.Result{Sent: true})
	if len(reports) != 1 || reports[0].GetSentCount() != 1 || reports[0].GetTelemetry().GetHeartbeat().GetEmitState() != cycle.Disabled {
		t.Fatalf("reports %v", reports)
	}
	tracker.Diagnostic(store.Key{}, cycle.Detail{Code: cycle.CursorLoadError, Message: "y"})
	release <- 3
	tracker.Flush()
	if r := reports[1]; r.GetErrorCount() != 1 || r.GetHeartbeatEmitFailures() != 3 || r.GetTelemetry().GetCounters().GetHeartbeatEmitFailures() != 3 ||
		r.GetTelemetry().GetHeartbeat().GetEmitState() != cycle.EmitFailed {
		t.Errorf("report %v", r)
	}
	tracker.Begin(time.Now()).Empty(0)
	if r := <-asked; r.GetErrors()[0] != "y" {
		t.Errorf("asked to post %v", r)
	}
	release <- 0
	if err := tracker.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := reports[2]; r.GetHeartbeatEmitFailures() != 0 || r.GetTelemetry().GetHeartbeat().GetEmitState() != cycle.Emitted {
		t.Errorf("report %v", r)
	}
}

// TestWhatAnEarlierProcessFetchedIsPostedAndInNoReport: neither in one that is open
// nor in the next; Flush waits for the receiver.
func TestWhatAnEarlierProcessFetchedIsPostedAndInNoReport(t *testing.T) {
	asked, release := make(chan *telemetryv1.CycleReport, 2), make(chan int)
	var reports []*telemetryv1.CycleReport
	tracker := cycle.NewTracker(func(r *telemetryv1.CycleReport) { reports = append(reports, r) }, cycle.Options{
		Heartbeat: func(r *telemetryv1.CycleReport) int { asked <- r; return <-release }})
	doubt := func(id int64) cycle.Detail {
		return cycle.Detail{Code: cycle.DeliveryInDoubt, UpdateID: id, Message: "x"}
	}
	c := tracker.Begin(time.Now())
	tracker.Unreported([]cycle.Detail{doubt(1), doubt(2), doubt(1)})
	c.Fetched(cycle.Batch{Handed: handed(3)})
	tracker.Settled(key(3), "", cycle.Result{Sent: true})
	tracker.Begin(time.Now()).Empty(0)
	tracker.Unreported(nil)
	if len(reports) != 1 || reports[0].GetErrorCount() != 0 || reports[0].GetReason() != "processed" {
		t.Errorf("reports %v", reports)
	}
	flushed := make(chan struct{})
	go func() { defer close(flushed); tracker.Flush() }()
	posted := <-asked
	if d := posted.GetErrorDetails(); len(d) != 2 || posted.GetErrorCount() != 2 || posted.GetStatus() != "ok" || posted.GetFetchedCount() != 0 ||
		d[0].GetContext().GetUpdateId() != "1" || d[1].GetContext().GetUpdateId() != "2" {
		t.Errorf("posted %v", posted)
	}
	select {
	case <-flushed:
		t.Error("Flush did not wait for the receiver")
	default:
	}
	release <- 0
	<-flushed
	if len(reports) != 1 || len(asked) != 0 {
		t.Errorf("reports %v, %d more posts", reports, len(asked))
	}
}

// TestWithoutAReceiverNothingIsPosted: what no report has is in the log alone.
func TestWithoutAReceiverNothingIsPosted(t *testing.T) {
	s := newStage()
	s.Unreported([]cycle.Detail{{Code: cycle.DeliveryInDoubt, Message: "x"}})
	s.Begin(time.Now()).Empty(0)
	s.Flush()
	if len(s.reports) != 0 {
		t.Errorf("reports %v", s.reports)
	}
}
