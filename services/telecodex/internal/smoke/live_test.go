package smoke_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/internal/sqldb"
	"telecodex.dev/services/internal/telegramsim"
	"telecodex.dev/services/orchestrator"
	"telecodex.dev/services/telecodex/internal/smoke"
	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

const (
	liveToken = "8000000002:BBLiveTokenOfTheTest_0123456789abcdef"
	canary    = 8100000043
	person    = 8100000044
)

// newLive is a live run: the operator's Telegram is the simulator, the installed
// Codex the scripted one.
func newLive(t *testing.T, settings ...string) (*trial, *telegramsim.Server) {
	t.Helper()
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{Token: liveToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	r := newTrial(t)
	r.Live = true
	codex, err := place(r.Program, r.people, "codex")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(codex)+string(os.PathListSeparator)+os.Getenv("PATH"))
	r.FindCodex = func(getenv func(string) string) error {
		worker, err := orchestrator.ConfigFrom(nil, getenv)
		if err != nil {
			return err
		}
		return orchestrator.FindCodex(worker)
	}
	r.Environ = append(os.Environ(), append([]string{
		"CHANNEL_TOKEN=" + liveToken,
		"CHANNEL_TELEGRAM_API_URL=" + sim.URL,
		"CHANNEL_ALLOWED_CHAT_IDS=" + strconv.Itoa(canary),
		"CHANNEL_CURSOR_STATE_PATH=" + filepath.Join(r.people, "cursor.json"),
		"CODEX_HOME=" + filepath.Join(r.people, "codex_home"),
		"ORCHESTRATOR_CODEX_ENV=FAKE_CODEX_PROMPT_SCENARIOS=1",
	}, settings...)...)
	return r, sim
}

// writes plays the person: each time that the run asks for a message, the next of
// these is sent, and the last again and again.
func (r *trial) writes(t *testing.T, sim *telegramsim.Server, texts ...string) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for asked := 0; ctx.Err() == nil; <-tick.C {
			if strings.Count(r.out.String(), "send this message") > asked {
				sim.Inject(telegramsim.Incoming{ChatID: canary, UserID: person, Text: texts[min(asked, len(texts)-1)]})
				asked++
			}
		}
	}()
	t.Cleanup(func() { stop(); <-done })
}

func TestLiveProtocolIsGo(t *testing.T) {
	r, sim := newLive(t, "CHANNEL_NOTIFY_ON_ORCHESTRATOR_ERROR=true", "CHANNEL_ACK_POLICY=on-success")
	r.writes(t, sim, "a canary's own words")
	if status := r.run(t); status != 0 {
		t.Errorf("status %d", status)
	}
	r.shows(t, "S1 happy path: send this message to the bot, from the canary chat, within 60 s:\n", "  waiting for the message: 60 s left", "PASS      S1", "PASS      S2", "PASS      S3",
		"PASS      S4", "GO: ", "  CANARY_CHAT_ID=8100000043", "  CHANNEL_TOKEN=<REDACTED>")
	if messages := sim.Messages(0); len(messages) != 1 || messages[0].Text != "You said: a canary's own words" {
		t.Errorf("the bot said %+v", messages)
	}
	// The operator's bot, which comes next, must not take the canaries once more.
	if state := sim.State(); state.Pending != 0 {
		t.Errorf("%d messages are left for the bot", state.Pending)
	}
	for name, text := range r.evidence(t) {
		shared := name == "evidence.md" || strings.HasSuffix(name, ".redacted.json")
		for _, secret := range []string{"8000000002", "BBLiveToken", "8100000043", "8100000044", "own words"} {
			if shared && strings.Contains(text, secret) {
				t.Errorf("%s shows %s", name, secret)
			}
		}
	}
	if said := r.out.String() + r.log.String(); strings.Contains(said, "BBLiveToken") || strings.Contains(said, "own words") {
		t.Errorf("it says\n%s", said)
	}
}

func TestHappyPathIsTriedThreeTimes(t *testing.T) {
	const fails = "!scenario turn_failed\nx"
	for _, tt := range []struct {
		name   string
		texts  []string
		status int
		shows  []string
		kept   []string
	}{
		{"the third succeeds", []string{fails, fails, "hello"}, smoke.ExitConditional,
			[]string{"  once more: try 3 of 3\n", "PASS      S1", "CONDITIONAL: untested: S2, S3, S4"},
			[]string{"S1-happy-path.try-1.redacted.json", "S1-happy-path.try-2.redacted.json", "S1-happy-path.redacted.json"}},
		{"all fail", []string{fails}, 1, []string{"FAIL      S1", "NO-GO: failed: S1\n", "  criterion 1: "}, []string{"S1-happy-path.try-2.redacted.json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, sim := newLive(t)
			r.Scenarios = []string{"S1"}
			r.writes(t, sim, tt.texts...)
			if status := r.run(t); status != tt.status {
				t.Errorf("status %d", status)
			}
			r.shows(t, tt.shows...)
			if tries := strings.Count(r.out.String(), "send this message"); tries != 3 {
				t.Errorf("%d tries", tries)
			}
			files := r.evidence(t)
			for _, name := range tt.kept {
				if files[name] == "" {
					t.Errorf("%s is missing", name)
				}
			}
		})
	}
}

func TestWithoutAMessageAScenarioIsUntested(t *testing.T) {
	r, sim := newLive(t)
	r.Wait = time.Second
	// Neither a stranger's message nor a command is a canary.
	sim.Inject(telegramsim.Incoming{ChatID: 5, Text: "a stranger"})
	sim.Inject(telegramsim.Incoming{ChatID: canary, Text: "/status"})
	if status := r.run(t); status != smoke.ExitConditional {
		t.Errorf("status %d", status)
	}
	r.shows(t, "UNTESTED  S1", "  S1-happy-path: no message came in time", "PASS      S2", "UNTESTED  S3", "UNTESTED  S4", "CONDITIONAL: untested: S1, S3, S4")
	if pending := sim.State().Pending; pending != 2 || len(sim.Messages(0)) > 0 {
		t.Errorf("%d messages are left of 2, %d were answered", pending, len(sim.Messages(0)))
	}
}

// Somebody wrote, but when the program looked the message was gone: another
// program had taken it.
func TestAMessageThatIsGoneIsUntested(t *testing.T) {
	r, sim := newLive(t)
	r.writes(t, sim, "hello")
	taken := 0
	r.SabotageWith(func(cycle string, _ map[string]string) {
		if cycle != "S2-telegram-transient-fetch" {
			taken++
			take(t, sim)
		}
	})
	if status := r.run(t); status != smoke.ExitConditional || taken != 4 {
		t.Errorf("status %d, %d messages were taken", status, taken)
	}
	r.shows(t, "UNTESTED  S1", "  S1-happy-path: the cycle fetched no message", "PASS      S2", "UNTESTED  S3", "UNTESTED  S4", "CONDITIONAL: untested: S1, S3, S4")
	if files := r.evidence(t); !strings.Contains(files["evidence.md"], "S4-allowlist-drop, try 1: UNTESTED the cycle fetched no message") ||
		!strings.Contains(files["S1-happy-path.redacted.json"], `"no-updates"`) {
		t.Errorf("the evidence:\n%s", files["evidence.md"])
	}
}

// A try for which no message came takes nothing back of the one before it.
func TestAFailureStandsWhenTheNextMessageIsGone(t *testing.T) {
	r, sim := newLive(t)
	r.Scenarios = []string{"S1"}
	r.writes(t, sim, "!scenario turn_failed\nx")
	tries := 0
	r.SabotageWith(func(string, map[string]string) {
		if tries++; tries > 1 {
			take(t, sim)
		}
	})
	if status := r.run(t); status != 1 || tries != 2 {
		t.Errorf("status %d after %d tries", status, tries)
	}
	r.shows(t, "FAIL      S1", "NO-GO: failed: S1\n", "  criterion 1: ")
	if files := r.evidence(t); !strings.Contains(files["S1-happy-path.redacted.json"], `"completed-with-errors"`) || len(files) != 3 {
		t.Errorf("%d files, %s", len(files), files["S1-happy-path.redacted.json"])
	}
}

// take confirms all that Telegram has for the bot, as another poller would.
func take(t *testing.T, sim *telegramsim.Server) {
	t.Helper()
	response, err := http.Get(fmt.Sprintf("%s/bot%s/getUpdates?offset=%d", sim.URL, liveToken, sim.State().NextUpdateID))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if pending := sim.State().Pending; response.StatusCode != http.StatusOK || pending != 0 {
		t.Errorf("status %d, %d messages are left", response.StatusCode, pending)
	}
}

// What the operator's bot has received already is no canary, and runs no turn
// again.
func TestTheOperatorsCursorIsObeyed(t *testing.T) {
	r, sim := newLive(t)
	r.Scenarios, r.Wait = []string{"S1"}, time.Second
	old := sim.Inject(telegramsim.Incoming{ChatID: canary, Text: "answered long ago"})
	cursor := filepath.Join(r.people, "cursor.json")
	text := fmt.Sprintf(`{"committed_floor":%d,"version":1}`, old.UpdateID+1)
	if err := os.WriteFile(cursor, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if status := r.run(t); status != smoke.ExitConditional || len(sim.Messages(0)) > 0 {
		t.Errorf("status %d, the bot said %+v", status, sim.Messages(0))
	}
	if left, err := os.ReadFile(cursor); err != nil || string(left) != text {
		t.Errorf("the operator's cursor is %s, %v", left, err)
	}
}

func TestWhatKeepsItFromLookingIsSaid(t *testing.T) {
	r, sim := newLive(t)
	sim.Fail(telegramsim.Fault{Method: "getUpdates", Count: -1, Status: 409, Description: "Conflict: https://example.org/" + liveToken})
	ctx, enough := context.WithTimeout(t.Context(), time.Minute)
	defer enough()
	go func() {
		defer enough()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil && !strings.Contains(r.out.String(), "cannot be looked at") {
			<-tick.C
		}
	}()
	if status, err := smoke.Run(ctx, r.Options); status != 130 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	r.shows(t, "  Telegram cannot be looked at: ")
	document := r.evidence(t)["evidence.md"]
	for _, want := range []string{"interrupted; untested: S1, S2, S3, S4", "S1-happy-path, try 1: UNTESTED interrupted", "S4-allowlist-drop, try 1: UNTESTED interrupted"} {
		if !strings.Contains(document, want) {
			t.Errorf("the document lacks %q:\n%s", want, document)
		}
	}
	if strings.Contains(r.out.String(), "BBLive") {
		t.Errorf("it shows the token:\n%s", r.out.String())
	}
	r.leavesNothing(t)
}

// What was observed before an interruption is in the document, and the rest is
// untested.
func TestInterruptedRunKeepsItsTable(t *testing.T) {
	r, sim := newLive(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	r.writes(t, sim, "!scenario turn_failed\nx", "hello")
	r.Stdout = writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "S3 codex timeout/failure, timeout: send this message") {
			interrupt()
		}
		return r.out.Write(p)
	})
	if status, err := smoke.Run(ctx, r.Options); status != 130 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	document := r.evidence(t)["evidence.md"]
	for _, want := range []string{"**CONDITIONAL**: interrupted; untested: S3, S4", "\n## S1: PASS\n", "S1-happy-path, try 1: FAIL", "\n## S2: PASS\n",
		"S3-codex-timeout, try 1: UNTESTED interrupted", "S3-codex-exec-fail, try 1: UNTESTED interrupted", "S4-allowlist-drop, try 1: UNTESTED interrupted"} {
		if !strings.Contains(document, want) {
			t.Errorf("the document lacks %q:\n%s", want, document)
		}
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Where another program took the polls, the reason names it.
func TestReasonNamesWhatKeptItFromLooking(t *testing.T) {
	r, sim := newLive(t)
	r.Scenarios, r.Wait = []string{"S1"}, time.Second
	sim.Fail(telegramsim.Fault{Method: "getUpdates", Count: -1, Status: 409})
	if status := r.run(t); status != smoke.ExitConditional {
		t.Errorf("status %d", status)
	}
	r.shows(t, "  S1-happy-path: no message came in time, and Telegram could not be looked at all the time: telegram getUpdates: api-error 409")
}

// Beside a bot that runs, a live run would end its polls: it does not begin.
func TestLiveRunBesideARunningBotIsRefused(t *testing.T) {
	store := filepath.Join(t.TempDir(), "gateway.db")
	r, sim := newLive(t, "CHANNEL_STORE="+store)
	lock, err := sqldb.TryLock(store + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	if _, err := smoke.Run(t.Context(), r.Options); err == nil || !strings.Contains(err.Error(), "stop the bot first") {
		t.Errorf("refused with %v", err)
	}
	if calls := sim.Calls(telegramsim.CallFilter{}); len(calls) > 0 || len(r.evidence(t)) > 0 {
		t.Errorf("it called %+v", calls)
	}
}

// Nobody is asked for a message that could not come.
func TestLiveRunThatCannotPollIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		token, webhook, want string
	}{
		"another token": {"8000000002:another", "", "the token is refused by Telegram"},
		"a webhook":     {liveToken, "https://bot.example/hook", "a webhook is set"},
	} {
		t.Run(name, func(t *testing.T) {
			r, sim := newLive(t, "CHANNEL_TOKEN="+tt.token)
			r.Scenarios = []string{"S1"}
			sim.SetWebhook(tt.webhook)
			if _, err := smoke.Run(t.Context(), r.Options); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), tt.token) {
				t.Errorf("refused with %v, want %s", err, tt.want)
			}
			if said := r.out.String(); strings.Contains(said, "send this message") || len(r.evidence(t)) > 0 {
				t.Errorf("it said %s", said)
			}
		})
	}
}

func TestLiveRunIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, setting, want string
	}{
		{"two chats", "CHANNEL_ALLOWED_CHAT_IDS=1,2", "exactly one allowlisted canary chat; allowed_chat_ids names 2"},
		{"no chat", "CHANNEL_ALLOWED_CHAT_IDS=", "allowed_chat_ids must be non-empty"},
		{"a name", "CHANNEL_ALLOWED_CHAT_IDS=@canary", "names none by its number"},
		{"another canary", "CANARY_CHAT_ID=5", "CANARY_CHAT_ID is not the chat that allowed_chat_ids names"},
		{"the chat of S4", "CHANNEL_ALLOWED_CHAT_IDS=" + protocol.ExcludingChat, "it is the one that S4 allows instead"},
		{"no token", "CHANNEL_TOKEN=", "token must be a non-empty string"},
		{"no Codex", "ORCHESTRATOR_CODEX_BIN=nobody-has-it", "nobody-has-it cannot be found"},
		{"no worker", "CHANNEL_ORCHESTRATOR_ADDR=127.0.0.1:1", "worker 127.0.0.1:1: it cannot be asked"},
		{"a cursor that cannot be read", "CHANNEL_CURSOR_STATE_PATH=" + t.TempDir(), "the cursor file cannot be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, sim := newLive(t, tt.setting)
			_, err := smoke.Run(t.Context(), r.Options)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("refused with %v, want %s", err, tt.want)
			}
			r.leavesNothing(t)
			if calls := sim.Calls(telegramsim.CallFilter{}); len(calls) > 0 || len(r.evidence(t)) > 0 {
				t.Errorf("it called %+v", calls)
			}
		})
	}
}
