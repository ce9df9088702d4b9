package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/freeport"
	"telecodex.dev/services/internal/pgtest"
	"telecodex.dev/services/internal/telegramsim"
)

// The three decisions, shorter.
const (
	resume = gatewayv1.Resolution_RESOLUTION_RESUME
	again  = gatewayv1.Resolution_RESOLUTION_RUN_AGAIN
	drop   = gatewayv1.Resolution_RESOLUTION_DROP
)

// button is what the button of each decision sends, before the turn's id.
var button = map[gatewayv1.Resolution]string{resume: "resume:", again: "again:", drop: "drop:"}

// desk is a system in which turns of several chats were interrupted, and where
// their decisions are made: by an operator's call or by a button.
type desk struct {
	*system
	operator gatewayv1.GatewayServiceClient
	updates  map[int64]int64 // by chat: the message whose turn was interrupted
}

// newDesk has a turn interrupted in each of a number of chats, the first of them
// with the id first, by the death of its worker. Afterwards Codex answers.
func newDesk(t *testing.T, store string, chats int) *desk {
	t.Helper()
	d := &desk{system: newSystem(t), updates: map[int64]int64{}}
	var allowed []string
	for i := range int64(chats + 1) {
		allowed = append(allowed, strconv.FormatInt(first+i, 10))
	}
	settings := []string{"CHANNEL_STORE=" + store, "CHANNEL_ALLOWED_CHAT_IDS=" + strings.Join(allowed, ",")}
	d.startWorker("ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_SCENARIO=hang,FAKE_CODEX_LOG=" + d.codexLog)
	d.serve(settings)
	for i := range int64(chats) {
		d.updates[first+i] = d.sim.Inject(telegramsim.Incoming{ChatID: first + i, Text: task(first + i)}).UpdateID
	}
	d.eventually("every turn runs", func() bool {
		for id := range d.updates {
			if started, _ := d.runs(task(id)); started == 0 {
				return false
			}
		}
		return true
	})
	if err := d.worker.Kill(); err != nil {
		t.Fatal(err)
	}
	d.startWorker()
	d.eventually("everybody was asked", func() bool {
		status, err := d.operator.GetStatus(t.Context(), &gatewayv1.GetStatusRequest{})
		return err == nil && int(status.GetInterruptedCount()) == chats && status.GetOutboxCount() == 0
	})
	// Whoever decides from now on asks a gateway that has interrupted nothing itself.
	d.stop(d.gateway, d.gateway.Done())
	d.serve(settings)
	return d
}

// first is the chat of the first interrupted turn; that after the last has none.
const first = 2000

func task(chat int64) string { return fmt.Sprintf("task of %d", chat) }

// serve starts a gateway and waits until it knows its bot.
func (d *desk) serve(settings []string) {
	d.t.Helper()
	addr, err := freeport.Addr()
	if err != nil {
		d.t.Fatal(err)
	}
	conn, err := harness.Dial(addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			d.t.Error(err)
		}
	})
	d.startGateway(nil, append(settings, "CHANNEL_LISTEN_ADDR="+addr)...)
	d.operator = gatewayv1.NewGatewayServiceClient(conn)
	d.eventually("it knows its bot", func() bool {
		ctx, cancel := context.WithTimeout(d.t.Context(), patience)
		defer cancel()
		answer, err := d.operator.GetStatus(ctx, &gatewayv1.GetStatusRequest{}, grpc.WaitForReady(true))
		return err == nil && answer.GetBotId() != 0
	})
}

func (d *desk) turnID(chat int64) string { return d.trace(chat).GetTurns()[0].GetTurnId() }

func (d *desk) trace(chat int64) *gatewayv1.GetUpdateTraceResponse {
	d.t.Helper()
	trace, err := d.operator.GetUpdateTrace(d.t.Context(), &gatewayv1.GetUpdateTraceRequest{UpdateId: d.updates[chat]})
	if err != nil || len(trace.GetTurns()) == 0 {
		d.t.Fatalf("trace of %d: %v, %v", chat, trace, err)
	}
	return trace
}

// call decides as an operator does.
func (d *desk) call(chat int64, r gatewayv1.Resolution) *gatewayv1.ResolveTurnResponse {
	d.t.Helper()
	answer, err := d.operator.ResolveTurn(d.t.Context(), &gatewayv1.ResolveTurnRequest{TurnId: d.turnID(chat), Resolution: r})
	if err != nil {
		d.t.Fatalf("ResolveTurn: %v", err)
	}
	return answer
}

// press decides as the person does, and returns what the button says.
func (d *desk) press(chat int64, r gatewayv1.Resolution) string {
	d.t.Helper()
	in := d.sim.InjectCallback(telegramsim.Callback{ChatID: chat, MessageID: d.sim.Messages(chat)[0].MessageID, Data: button[r] + d.turnID(chat)})
	said := ""
	d.eventually("the button answers", func() bool {
		for _, call := range d.sim.Calls(telegramsim.CallFilter{Method: "answerCallbackQuery"}) {
			if call.Args["callback_query_id"] == in.CallbackID {
				said = call.Args["text"]
				return true
			}
		}
		return false
	})
	return said
}

// shows waits until a chat's question says what was decided, and has no buttons.
func (d *desk) shows(chat int64, text string) {
	d.t.Helper()
	d.eventually("the question says "+text, func() bool {
		question := d.sim.Messages(chat)[0]
		return strings.HasPrefix(question.Text, "This task was interrupted") && strings.HasSuffix(question.Text, text) && question.ReplyMarkup == nil
	})
}

// done waits until a decision about a chat's interrupted turn was carried out.
func (d *desk) done(chat int64, r gatewayv1.Resolution) {
	d.t.Helper()
	want := "DELIVERED"
	if r == drop {
		want = "DROPPED"
	}
	d.eventually("it is "+want, func() bool { return d.trace(chat).GetState() == want })
}

// outcome is what became of a chat's interrupted turn: the states of the update and
// of its attempts, how often Codex was started for the task, and what was said. No
// Codex runs meanwhile.
func (d *desk) outcome(chat int64) string {
	d.t.Helper()
	trace := d.trace(chat)
	lines := []string{trace.GetState(), trace.GetDropReason()}
	for _, turn := range trace.GetTurns() {
		lines = append(lines, turn.GetState()+" "+turn.GetOutcome()+" "+turn.GetErrorCode())
	}
	started, _ := d.runs(task(chat))
	lines = append(lines, fmt.Sprint(started, " starts"))
	for _, m := range d.sim.Messages(chat)[1:] {
		lines = append(lines, m.Text)
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), task(chat), "the task")
}

// TestAnOperatorDecidesAsAPersonDoes decides about interrupted turns with
// ResolveTurn and with buttons, one after the other and at once.
func TestAnOperatorDecidesAsAPersonDoes(t *testing.T) {
	t.Parallel()
	server := pgtest.New()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, store := range map[string]func(testing.TB) string{
		"SQLite":     func(testing.TB) string { return ".channel_runtime/gateway.db" },
		"PostgreSQL": server.URL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, store(t), 10)
			next := int64(first)
			another := func() int64 { next++; return next - 1 }
			for _, r := range []gatewayv1.Resolution{resume, again, drop} {
				d.decidesAlike(another(), another(), r)
			}
			d.theFirstAnswerWins(another(), another(), another())
			d.refusesWhatWaitsForNoDecision(another(), another())
		})
	}
}

// decidesAlike compares the call with the button.
func (d *desk) decidesAlike(called, pressed int64, r gatewayv1.Resolution) {
	d.t.Helper()
	answer := d.call(called, r)
	if !answer.GetApplied() || answer.GetResolution() != r || (answer.GetNextTurnId() == "") != (r == drop) {
		d.t.Errorf("%v: %v", r, answer)
	}
	if said := d.press(pressed, r); strings.Contains(said, "decided before") {
		d.t.Errorf("%v: the button says %s", r, said)
	}
	d.done(called, r)
	d.done(pressed, r)
	shown := map[gatewayv1.Resolution]string{resume: "Codex looks at what was done and goes on.", again: "It runs again from its beginning.", drop: "It is dropped."}
	d.shows(called, shown[r])
	d.shows(pressed, shown[r])
	byCall, byButton := d.outcome(called), d.outcome(pressed)
	if byCall != byButton {
		d.t.Errorf("%v: the call led to\n%s\n\nthe button to\n%s", r, byCall, byButton)
	}
	starts := map[gatewayv1.Resolution]string{resume: "1 starts\nYou said: Your last turn", again: "2 starts\nYou said: the task", drop: "1 starts"}
	if !strings.Contains(byCall, starts[r]) || strings.HasSuffix(starts[r], "starts") != strings.HasSuffix(byCall, "starts") {
		d.t.Errorf("%v led to\n%s", r, byCall)
	}
	if id := answer.GetNextTurnId(); id != "" && id != d.trace(called).GetTurns()[1].GetTurnId() {
		d.t.Errorf("%v: the next turn is %s, not %s", r, d.trace(called).GetTurns()[1].GetTurnId(), id)
	}
}

// theFirstAnswerWins: a button after the call, the call after a button, two calls.
func (d *desk) theFirstAnswerWins(called, pressed, raced int64) {
	d.t.Helper()
	d.call(called, drop)
	d.shows(called, "It is dropped.") // an old client may show the buttons for longer
	if said := d.press(called, again); !strings.Contains(said, "That was decided before. It is dropped.") {
		d.t.Errorf("the button after the call says %s", said)
	}
	d.press(pressed, again)
	late := d.call(pressed, drop)
	if late.GetApplied() || late.GetResolution() != again || late.GetNextTurnId() == "" {
		d.t.Errorf("the call after the button: %v", late)
	}

	const callers = 8
	answers := make([]*gatewayv1.ResolveTurnResponse, callers)
	errs := make([]error, callers)
	id := d.turnID(raced)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			answers[i], errs[i] = d.operator.ResolveTurn(d.t.Context(), &gatewayv1.ResolveTurnRequest{TurnId: id, Resolution: []gatewayv1.Resolution{drop, again}[i%2]})
		})
	}
	group.Wait()
	applied := 0
	for i, answer := range answers {
		if errs[i] != nil || answer.GetResolution() != answers[0].GetResolution() || answer.GetNextTurnId() != answers[0].GetNextTurnId() {
			d.t.Errorf("one of them is told %v, %v, another one %v", answer, errs[i], answers[0])
		}
		if answer.GetApplied() {
			applied++
		}
	}
	if applied != 1 {
		d.t.Errorf("%d of %d calls decided", applied, callers)
	}
	decided := map[int64]gatewayv1.Resolution{called: drop, pressed: again, raced: answers[0].GetResolution()}
	for id, want := range decided {
		d.done(id, want)
	}
	for id, want := range decided {
		starts := 1
		if want == again {
			starts = 2
		}
		if got := d.outcome(id); !strings.Contains(got, fmt.Sprint(starts, " starts")) || len(d.trace(id).GetTurns()) != starts {
			d.t.Errorf("%v led to\n%s", want, got)
		}
	}
}

// refusesWhatWaitsForNoDecision asks about what is not there and about what has
// ended, and leaves waiting alone.
func (d *desk) refusesWhatWaitsForNoDecision(waiting, answered int64) {
	d.t.Helper()
	d.updates[answered] = d.sim.Inject(telegramsim.Incoming{ChatID: answered, Text: task(answered)}).UpdateID
	d.eventually("it is answered", func() bool { return len(d.sim.Messages(answered)) == 1 })
	for _, tt := range []struct {
		id     string
		code   grpccodes.Code
		reason string
	}{
		{d.turnID(answered), grpccodes.FailedPrecondition, "INVALID_REQUEST"},
		{d.turnID(waiting) + "0", grpccodes.NotFound, "TURN_UNKNOWN"},
		{"x", grpccodes.NotFound, "TURN_UNKNOWN"},
	} {
		_, err := d.operator.ResolveTurn(d.t.Context(), &gatewayv1.ResolveTurnRequest{TurnId: tt.id, Resolution: again})
		if status.Code(err) != tt.code || !slices.Contains(reasons(err), tt.reason) {
			d.t.Errorf("%s: %v with %v, want %v with %s", tt.id, err, reasons(err), tt.code, tt.reason)
		}
	}
	if state := d.trace(waiting).GetTurns()[0].GetState(); state != "INTERRUPTED" || len(d.trace(answered).GetTurns()) != 1 {
		d.t.Errorf("what was refused has changed something: %s, %v", state, d.trace(answered))
	}
}

// reasons are those of an error of a call.
func reasons(err error) (all []string) {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			all = append(all, info.GetReason())
		}
	}
	return all
}
