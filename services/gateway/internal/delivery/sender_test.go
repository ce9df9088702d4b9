package delivery

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/admission"
	"telecodex.dev/services/gateway/internal/botapi"
	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/telegramsim"
)

const chatID = 1000

// world is an outbox, a Bot API simulator, and a sender between them.
type world struct {
	path   string // of the database
	t      *testing.T
	sim    *telegramsim.Server
	bot    *botapi.Client
	db     *store.DB
	store  *store.Store
	config Config
	sender *Sender
	stop   func() error
	ended  <-chan struct{} // of its own accord, or stopped
	nextID int64

	mu      sync.Mutex
	reports []*telemetryv1.CycleReport
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, nextID: 100}
	var err error
	if w.sim, err = telegramsim.Start("127.0.0.1:0", telegramsim.Options{}); err != nil {
		t.Fatal(err)
	}
	if w.bot, err = botapi.New(botapi.Options{Token: func() string { return telegramsim.DefaultToken }, BaseURL: w.sim.URL}); err != nil {
		t.Fatal(err)
	}
	w.path = filepath.Join(t.TempDir(), "gateway.db")
	if w.db, err = store.Open(t.Context(), w.path, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if w.store, err = w.db.Acquire(t.Context(), store.Bot{ID: 1000000, Fingerprint: "f"}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.stop != nil {
			err = w.stop()
		}
		w.bot.CloseIdleConnections()
		if err := errors.Join(err, w.db.Close(), w.sim.Close()); err != nil {
			t.Error(err)
		}
	})
	w.config = Config{Store: w.store, Bot: w.bot, Budget: NewBudget(0), Log: zap.NewNop(),
		Reports: cycle.NewTracker(func(r *telemetryv1.CycleReport) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.reports = append(w.reports, r)
		}, cycle.Options{OnSuccess: true})}
	return w
}

func (w *world) run() *world {
	w.sender = NewSender(w.config)
	return w.start()
}

// start starts the sender there is.
func (w *world) start() *world {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ended := make(chan struct{})
	go func() { defer close(ended); done <- w.sender.Run(ctx) }()
	w.ended = ended
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	return w
}

// post puts messages into the outbox, as the answer of a command, and returns the
// command's key.
func (w *world) post(chat, topic int64, messages ...store.Message) store.Key {
	w.t.Helper()
	w.nextID++
	messageID := w.nextID
	if w.sim != nil {
		messageID = w.sim.Inject(telegramsim.Incoming{ChatID: chat, TopicID: topic, Text: "x"}).MessageID
	}
	c := w.config.Reports.Begin(time.Now())
	stored, err := w.store.Ingest(w.t.Context(), []store.NewUpdate{{UpdateID: w.nextID, Kind: store.KindEcho, State: store.Queued,
		Digest: time.Now().String(), SessionID: admission.SessionID(chat, topic), ChatID: chat, TopicID: topic, MessageID: messageID,
		Private: chat > 0, Date: time.Now()}}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	c.Fetched(cycle.Batch{Handed: stored.New})
	for i := range messages {
		messages[i].ReplyTo = messageID
	}
	if err := w.store.SettleCommand(w.t.Context(), stored.New[0].Key, false, messages); err != nil {
		w.t.Fatal(err)
	}
	if w.sender != nil {
		w.sender.Wake(chat)
	}
	return stored.New[0].Key
}

func text(s string) store.Message { return store.Message{Kind: store.Answer, Text: s} }

// sent waits for messages to a chat.
func (w *world) sent(chat int64, count int) []telegramsim.Message {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	messages, err := w.sim.WaitForMessages(ctx, chat, count)
	if err != nil || len(messages) != count {
		w.t.Fatalf("%d messages, want %d: %v", len(messages), count, err)
	}
	return messages
}

func (w *world) eventually(what string, cond func() bool) {
	w.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("never: %s", what)
		}
	}
}

func (w *world) state(key store.Key) store.Trace {
	w.t.Helper()
	trace, err := w.store.Trace(w.t.Context(), key.UpdateID, key.Generation)
	if err != nil {
		w.t.Fatal(err)
	}
	return trace
}

func (w *world) delivered(key store.Key) {
	w.t.Helper()
	w.eventually("delivered", func() bool { return w.state(key).Update.State == store.Delivered })
}

// reported waits for a number of reports and returns the last of them.
func (w *world) reported(count int) *telemetryv1.CycleReport {
	w.t.Helper()
	var last *telemetryv1.CycleReport
	w.eventually("reported", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.reports) >= count {
			last = w.reports[count-1]
		}
		return last != nil
	})
	return last
}

func codes(r *telemetryv1.CycleReport) (all []string) {
	for _, d := range r.GetErrorDetails() {
		all = append(all, d.GetCode())
	}
	return all
}

func TestMessagesOfAChatArriveInOrderAsReplies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.post(-5, 77, text("one"), text("two"), store.Message{Kind: store.Answer, Document: &store.Document{Name: "answer.md", Content: []byte("three")}})
	w.run()
	messages := w.sent(-5, 3)
	for i, want := range []string{"one", "two", ""} {
		if m := messages[i]; m.Text != want || m.TopicID != 77 || m.ReplyTo == 0 {
			t.Errorf("message %d = %+v", i, m)
		}
	}
	if d := messages[2].Document; d == nil || d.Name != "answer.md" || string(d.Content) != "three" {
		t.Errorf("document = %+v", d)
	}
	call := w.sim.Calls(telegramsim.CallFilter{Method: "sendMessage"})[0]
	if !strings.Contains(call.Args["link_preview_options"], "true") {
		t.Errorf("link preview is on: %v", call.Args)
	}
	w.delivered(key)
	if r := w.reported(1); r.GetSentCount() != 1 || r.GetErrorCount() != 0 {
		t.Errorf("report = %v", r)
	}
}

func TestAReplyIsNoAnswerInTheReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.delivered(w.post(chatID, 0, store.Message{Kind: store.Reply, Text: "help"}))
	if r := w.reported(1); r.GetSentCount() != 0 || r.GetAckedCount() != 1 {
		t.Errorf("report = %v", r)
	}
}

func TestRetryAfterHoldsTheChatAndSurvivesARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", ChatID: chatID, RetryAfter: 2})
	w.run()
	begin := time.Now()
	key := w.post(chatID, 0, text("late"))
	w.eventually("blocked", func() bool { b, err := w.store.BlockedChats(t.Context()); return err == nil && !b[chatID].IsZero() })
	held := func() bool { return time.Since(begin) < 1900*time.Millisecond } // on a slow machine it may be over soon
	if _, granted := w.config.Budget.Reserve(time.Now(), chatID, false, Essential); granted && held() {
		t.Error("the budget lets something go to the chat")
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.run()
	other := w.post(2, 0, text("other chat"))
	w.delivered(other)
	if sent := len(w.sim.Messages(chatID)) > 0; sent && held() {
		t.Error("the other chat waited, or this one did not")
	}
	w.delivered(key)
	if held() {
		t.Errorf("sent after %v", time.Since(begin))
	}
	if n := len(w.sim.Calls(telegramsim.CallFilter{Method: "sendMessage", ChatID: chatID})); n != 2 {
		t.Errorf("%d calls", n)
	}
}

func TestFailuresThatPassAreTriedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		fault   telegramsim.Fault
		doubt   bool
		arrives int
	}{
		{"500", telegramsim.Fault{Status: 500}, true, 1},
		{"a proxy's page", telegramsim.Fault{HTML: true}, true, 1},
		{"reset before it was carried out", telegramsim.Fault{Reset: true}, true, 1},
		{"reset after it was carried out", telegramsim.Fault{Reset: true, Execute: true}, true, 2},
		{"half an answer", telegramsim.Fault{TruncateBody: true, Execute: true}, true, 2},
		{"401", telegramsim.Fault{Status: 401, Description: "Unauthorized"}, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.fault.Method = "sendMessage"
			w.sim.Fail(tt.fault)
			w.run()
			key := w.post(chatID, 0, text("hello"))
			w.delivered(key)
			w.sent(chatID, tt.arrives)
			o := w.state(key).Outbox[0]
			if o.Attempts != 2 || (o.Doubts == 1) != tt.doubt {
				t.Errorf("outbox = %+v", o)
			}
			r := w.reported(1)
			if got := slices.Contains(codes(r), cycle.DeliveryInDoubt); got != tt.doubt {
				t.Errorf("codes = %v", codes(r))
			}
			if r.GetTelemetry().GetCounters().GetRetryTotal() != 1 || r.GetSentCount() != 1 {
				t.Errorf("report = %v", r)
			}
		})
	}
}

func TestARefusedMessageIsDeadOnceAndTheNextGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", Status: 400, Description: "Bad Request: chat not found"})
	w.run()
	refused := w.post(chatID, 0, text("refused"))
	w.delivered(w.post(chatID, 0, text("next")))
	if o := w.state(refused).Outbox[0]; o.State != store.Dead || o.Attempts != 1 {
		t.Errorf("outbox = %+v", o)
	}
	r := w.reported(1)
	d := r.GetErrorDetails()
	if len(d) != 1 || d[0].GetCode() != cycle.ProcessingException || d[0].GetContext().GetOperation() != "send_message" || !d[0].GetRetryable() || r.GetSentCount() != 0 {
		t.Errorf("report = %v", r)
	}
}

func TestATopicThatIsGoneIsLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.post(-5, 77, text("no topic"))
	w.sim.DeleteTopic(-5, 77)
	w.run()
	w.delivered(key)
	if m := w.sent(-5, 1)[0]; m.TopicID != 0 {
		t.Errorf("message = %+v", m)
	}
}

// TestASendCutByACrashIsInDoubt leaves a message as a crash does: marked as being
// sent. The receiver of the heartbeat is told, and no report: the update's own cycle
// ended with the crash.
func TestASendCutByACrashIsInDoubt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.post(chatID, 0, text("perhaps"))
	posted := make(chan *telemetryv1.CycleReport, 1)
	w.config.Reports = cycle.NewTracker(func(r *telemetryv1.CycleReport) { t.Errorf("report %v", r) },
		cycle.Options{Heartbeat: func(r *telemetryv1.CycleReport) int { posted <- r; return 0 }})
	o, _, err := w.store.NextMessage(t.Context(), chatID)
	if err := errors.Join(err, w.store.MarkSending(t.Context(), o.ID)); err != nil {
		t.Fatal(err)
	}
	w.run()
	w.delivered(key)
	if got := w.state(key).Outbox[0]; got.Doubts != 1 || got.Attempts != 2 {
		t.Errorf("outbox = %+v", got)
	}
	w.config.Reports.Begin(time.Now()).Empty(0)
	w.config.Reports.Flush()
	if r := <-posted; !slices.Equal(codes(r), []string{cycle.DeliveryInDoubt}) ||
		r.GetErrorDetails()[0].GetContext().GetUpdateId() != strconv.FormatInt(key.UpdateID, 10) {
		t.Errorf("posted %v", r)
	}
}

func TestSendingThatFailsForLongIsReportedAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Patience = 10 * time.Millisecond
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", Count: 2, Status: 502})
	w.run()
	key := w.post(chatID, 0, text("hello"))
	if r := w.reported(1); r.GetAckSkippedCount() != 1 {
		t.Errorf("report = %v", r)
	}
	w.delivered(key)
}

func TestTypingIsShownOnlyWhereNothingWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.delivered(w.post(chatID, 0, text("one"))) // now it runs
	w.eventually("idle", func() bool { w.sender.mu.Lock(); defer w.sender.mu.Unlock(); return len(w.sender.chats) == 0 })
	w.sender.Typing(chatID, 0, false)
	w.eventually("shown", func() bool { return len(w.sim.Actions(chatID)) == 1 })
	w.sim.Fail(telegramsim.Fault{Method: "sendMessage", RetryAfter: 60})
	w.post(chatID, 0, text("held back"))
	w.eventually("blocked", func() bool { b, err := w.store.BlockedChats(t.Context()); return err == nil && len(b) == 1 })
	w.sender.Typing(chatID, 0, false)
	w.sender.Typing(2, 0, false)
	w.eventually("shown elsewhere", func() bool { return len(w.sim.Actions(2)) == 1 })
	if n := len(w.sim.Actions(chatID)); n != 1 {
		t.Errorf("shown %d times in a chat that has to wait", n)
	}
}

func TestNothingIsShownOnceTheSenderHasEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Budget = NewBudget(1000)
	w.run()
	w.delivered(w.post(2, 0, text("one"))) // now it runs
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	w.sender.Typing(chatID, 0, false)
	now := time.Now()
	for range chatBurst { // no call was counted
		if wait, granted := w.config.Budget.Reserve(now, chatID, false, Essential); wait > 0 || !granted {
			t.Fatalf("wait = %v, granted %v", wait, granted)
		}
	}
}

func TestALostStoreEndsTheSender(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.delivered(w.post(chatID, 0, text("one")))
	key := w.post(chatID, 0, text("two"))
	w.delivered(key)
	thief, err := w.db.Acquire(t.Context(), store.Bot{ID: 1000000, Fingerprint: "f"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.store = thief
	w.post(chatID, 0, text("three"))
	w.eventually("ended", func() bool {
		select {
		case <-w.ended:
			return true
		default:
			return false
		}
	})
	stop := w.stop
	w.stop = nil
	var fenced *store.FencedError
	if err := stop(); !errors.As(err, &fenced) {
		t.Errorf("Run = %v", err)
	}
	if n := len(w.sim.Messages(chatID)); n != 2 {
		t.Errorf("%d messages were sent; a fenced sender sends nothing", n)
	}
}

func TestAPressThatTelegramDoesNotTakeIsSaid(t *testing.T) {
	w := newWorld(t).run()
	sent, err := w.bot.SendMessage(t.Context(), botapi.SendMessage{ChatID: chatID, Text: "?"})
	if err != nil {
		t.Fatal(err)
	}
	press := w.sim.InjectCallback(telegramsim.Callback{ChatID: chatID, MessageID: sent.ID, Data: "x"})
	if err := w.sender.Pressed(t.Context(), press.CallbackID, "done"); err != nil {
		t.Errorf("a fresh one: %v", err)
	}
	if err := w.sender.Pressed(t.Context(), "one of yesterday", "done"); err == nil {
		t.Error("nothing says that an old one was not taken")
	}
}
