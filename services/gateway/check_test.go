package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/telegramsim"
)

// sound is a configuration in which every check is well.
func sound(t *testing.T, sim *telegramsim.Server) Config {
	t.Helper()
	c := echo(t, sim.URL, &lines{})
	c.OrchestratorMode, c.AllowedChatIDs = ModeCodex, []string{"1000"}
	return c
}

// examined are the findings about a configuration, by their names.
func examined(t *testing.T, c Config, poll bool) map[string]checkup.Finding {
	t.Helper()
	found := map[string]checkup.Finding{}
	for _, check := range Check(t.Context(), c, poll) {
		for _, f := range check.Wait(t.Context()) {
			if _, twice := found[f.Name]; twice {
				t.Errorf("%s is told twice", f.Name)
			}
			found[f.Name] = f
			if (f.Mend == "") != (f.Verdict == checkup.OK) {
				t.Errorf("%s is %s, with the mend %q", f.Name, f.Verdict, f.Mend)
			}
			if text := fmt.Sprint(f); strings.Contains(text, c.Token()) || strings.Contains(text, "SECRET") {
				t.Errorf("a secret is shown: %v", f)
			}
		}
	}
	return found
}

func expect(t *testing.T, found map[string]checkup.Finding, name string, verdict checkup.Verdict, detail string) {
	t.Helper()
	if f, told := found[name]; !told || f.Verdict != verdict || !strings.Contains(f.Detail, detail) {
		t.Errorf("%s: %+v, want %s with %q", name, f, verdict, detail)
	}
}

func TestSoundConfigurationIsWell(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	c := sound(t, sim)
	found := examined(t, c, false)
	for _, name := range []string{"token", "webhook", "poller", "clock", "allowlist", "store", "store disk", "cursor", "addresses"} {
		if f := found[name]; f.Verdict != checkup.OK && !strings.Contains(f.Detail, "file system") && !strings.Contains(f.Detail, "container's") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(c.Store)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if state := sim.State(); state.Polls > 0 {
		t.Errorf("%d polls", state.Polls)
	}
}

func TestTokenIsTried(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	for _, tt := range []struct {
		name   string
		change func(c *Config)
		detail string
	}{
		{"refused", func(c *Config) { c.Token = func() string { return "1000000:SECRET" } }, "refuses it (401)"},
		{"nobody there", func(c *Config) { c.APIURL = "http://127.0.0.1:1" }, "connection refused"},
		{"no Bot API", func(c *Config) { c.APIURL = sim.URL + "/elsewhere" }, "refuses it (404)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sound(t, sim)
			tt.change(&c)
			found := examined(t, c, false)
			expect(t, found, "token", checkup.Fail, tt.detail)
			expect(t, found, "webhook", checkup.Warn, "not known")
			expect(t, found, "poller", checkup.Warn, "not known")
			expect(t, found, "allowlist", checkup.OK, "")
		})
	}
}

func TestTokenFileThatOthersReadIsToldOf(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: files have no such modes on Windows")
	}
	c := sound(t, simulate(t))
	c.TokenFile = filepath.Join(t.TempDir(), "token")
	for mode, verdict := range map[os.FileMode]checkup.Verdict{0o600: "", 0o640: checkup.Warn} {
		if err := os.WriteFile(c.TokenFile, []byte(c.Token()), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(c.TokenFile, mode); err != nil {
			t.Fatal(err)
		}
		if f := examined(t, c, false)["token file"]; f.Verdict != verdict {
			t.Errorf("%o: %+v", mode, f)
		}
	}
}

func TestWebhookIsToldOf(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	sim.SetWebhook("https://example.org/SECRET")
	found := examined(t, sound(t, sim), true)
	expect(t, found, "webhook", checkup.Fail, "409; 0 updates wait")
	if mend := found["webhook"].Mend; !strings.Contains(mend, `curl "$CHANNEL_TELEGRAM_API_URL/bot$CHANNEL_TOKEN/deleteWebhook"`) {
		t.Errorf("mend %q", mend)
	}
	if line := (Config{TokenFile: "t.txt", APIURL: defaults().APIURL}).deleteWebhook(); line != `curl "https://api.telegram.org/bot$(cat 't.txt')/deleteWebhook"` {
		t.Errorf("it says %s", line)
	}
	expect(t, found, "poller", checkup.Warn, "not known")
	if state := sim.State(); state.Polls > 0 {
		t.Errorf("%d polls", state.Polls)
	}
}

// elsewhere is a program on another machine that polls the same bot, as bots do.
func elsewhere(t *testing.T, sim *telegramsim.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			poll(ctx, sim, "timeout=50")
		}
	}()
	t.Cleanup(func() { cancel(); <-done; http.DefaultClient.CloseIdleConnections() })
	if _, err := sim.WaitForState(t.Context(), func(s telegramsim.State) bool { return s.Parked }); err != nil {
		t.Fatal(err)
	}
}

// poll is one getUpdates; what comes of it does not matter.
func poll(ctx context.Context, sim *telegramsim.Server, parameters string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, sim.URL+"/bot"+telegramsim.DefaultToken+"/getUpdates?"+parameters, nil)
	if err != nil {
		return
	}
	if answer, err := http.DefaultClient.Do(request); err == nil {
		answer.Body.Close()
	}
}

// between is the simulator's Bot API with something of one's own before each call
// and after each answer.
func between(t *testing.T, sim *telegramsim.Server, before func(method string), after func(*http.Response)) (url string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	transport := &http.Transport{}
	server.Config.Handler = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			before(path.Base(r.In.URL.Path))
			r.Out.URL.Scheme, r.Out.URL.Host = "http", strings.TrimPrefix(sim.URL, "http://")
		},
		ModifyResponse: func(r *http.Response) error { after(r); return nil },
	}
	server.Start()
	t.Cleanup(func() { server.Close(); transport.CloseIdleConnections() })
	return server.URL
}

func TestAnotherPollerIsFoundWhenAskedFor(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	elsewhere(t, sim)
	c := sound(t, sim)
	before := sim.State().Polls
	expect(t, examined(t, c, false), "poller", checkup.OK, "no other was noticed")
	if after := sim.State(); after.Polls != before || !after.Parked {
		t.Error("who was not to be disturbed was")
	}
	expect(t, examined(t, c, true), "poller", checkup.Fail, "another program polls this bot")
}

func TestAskedPollConfirmsNothing(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"})
	expect(t, examined(t, sound(t, sim), true), "poller", checkup.OK, "nobody takes them")
	if state := sim.State(); state.Pending != 1 || state.ConfirmedOffset != 0 {
		t.Errorf("state %+v", state)
	}
}

func TestUpdatesThatWaitAreWatched(t *testing.T) {
	t.Parallel()
	t.Run("nobody takes them", func(t *testing.T) {
		sim := simulate(t)
		sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"})
		expect(t, examined(t, sound(t, sim), false), "poller", checkup.OK, "1 update waits, and nobody else takes any")
	})
	t.Run("the store has them", func(t *testing.T) {
		sim := simulate(t)
		id := sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"}).UpdateID
		c := sound(t, sim)
		c.CursorStatePath = filepath.Join(t.TempDir(), "cursor.json")
		if err := os.WriteFile(c.CursorStatePath, fmt.Appendf(nil, `{"committed_floor":%d,"version":1}`, id+1), 0o600); err != nil {
			t.Fatal(err)
		}
		expect(t, examined(t, c, false), "poller", checkup.OK, "what the store has taken lately is among them")
		expect(t, examined(t, c, true), "poller", checkup.OK, "the store has taken the first of them already")
	})
	t.Run("somebody does", func(t *testing.T) {
		sim := simulate(t)
		id := sim.Inject(telegramsim.Incoming{ChatID: 1000, Text: "hello"}).UpdateID
		c, asked := sound(t, sim), 0
		c.APIURL = between(t, sim, func(method string) {
			if method == "getWebhookInfo" {
				asked++
			}
			if asked == 2 {
				poll(t.Context(), sim, fmt.Sprintf("offset=%d", id+1))
			}
		}, func(*http.Response) {})
		expect(t, examined(t, c, false), "poller", checkup.Fail, "of the updates that wait 1 went within")
		http.DefaultClient.CloseIdleConnections()
	})
}

func TestRunningGatewayIsAskedAndLeftAlone(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	c := sound(t, sim)
	c.OrchestratorMode = ModeDefault // it needs no worker
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running := c
	running.Listener = listener
	running.LongPoll, running.PollInterval = 0, 50*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, running) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if _, err := sim.WaitForState(t.Context(), func(s telegramsim.State) bool { return s.Polls > 1 }); err != nil {
		t.Fatal(err)
	}
	c.ListenAddr = listener.Addr().String()
	found := examined(t, c, true)
	expect(t, found, "poller", checkup.OK, "which polled with success")
	expect(t, found, "addresses", checkup.OK, "the gateway that uses the store has them")
	for _, name := range []string{"store", "cursor"} {
		if f := found[name]; f.Verdict == checkup.Fail || !strings.Contains(f.Detail, "only looked at") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	c.ListenAddr = ""
	expect(t, examined(t, c, true), "poller", checkup.OK, "no operator API")
	c.ListenAddr = "127.0.0.1:1"
	expect(t, examined(t, c, true), "poller", checkup.Warn, "does not answer")

	sim.Fail(telegramsim.Fault{Method: "getUpdates", Count: -1, Status: 409})
	c.ListenAddr = listener.Addr().String()
	found = examined(t, c, true) // too soon to be deaf
	expect(t, found, "poller", checkup.OK, "which polled with success")
}

func TestClockIsComparedWithTelegrams(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	for off, verdict := range map[time.Duration]checkup.Verdict{
		0: checkup.OK, -20 * time.Second: checkup.OK, time.Minute: checkup.Warn, -10 * time.Minute: checkup.Fail,
	} {
		c := sound(t, sim)
		c.APIURL = between(t, sim, func(string) {}, func(r *http.Response) {
			r.Header.Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
		})
		expect(t, examined(t, c, false), "clock", verdict, "off Telegram's")
	}
	c := sound(t, sim)
	c.APIURL = "http://127.0.0.1:1"
	expect(t, examined(t, c, false), "clock", checkup.Warn, "not known")
}

func TestAllowlistIsJudged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ids     string
		verdict checkup.Verdict
		detail  string
	}{
		{"1000,-100123", checkup.OK, "chats that may use the bot: 2"},
		{"1000,@me", checkup.Warn, "1 of 2"},
		{"@me", checkup.Fail, "nobody"},
		{"", checkup.Warn, "everybody"},
	} {
		c := Config{AllowedChatIDs: strings.FieldsFunc(tt.ids, func(r rune) bool { return r == ',' })}
		f := c.checkAllowed()
		if f.Verdict != tt.verdict || !strings.Contains(f.Detail, tt.detail) {
			t.Errorf("%q: %+v", tt.ids, f)
		}
	}
}

func TestStoreAndCursorMustBeWritable(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("not JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		change  func(c *Config)
		finding string
		verdict checkup.Verdict
		detail  string
	}{
		{"store beneath a file", func(c *Config) { c.Store = filepath.Join(file, "gateway.db") }, "store", checkup.Fail, "not a directory"},
		{"store where nobody can write", func(c *Config) { c.Store = "/proc/gateway.db" }, "store", checkup.Fail, "/proc"},
		{"store that is a directory", func(c *Config) { c.Store = filepath.Dir(file) }, "store", checkup.Fail, "is not a file"},
		{"store to be made", func(c *Config) { c.Store = filepath.Join(filepath.Dir(c.Store), "a", "b", "gateway.db") }, "store", checkup.OK, "it will be made"},
		{"no cursor file", func(c *Config) { c.CursorStatePath = "" }, "cursor", checkup.OK, "the store has the cursor"},
		{"cursor beneath a file", func(c *Config) { c.CursorStatePath = filepath.Join(file, "c.json") }, "cursor", checkup.Warn, "not a directory"},
		{"cursor that is none", func(c *Config) { c.CursorStatePath = file }, "cursor", checkup.Warn, "not JSON"},
		{"cursor that is none, and strict", func(c *Config) { c.CursorStatePath, c.StrictCursorState = file, true }, "cursor", checkup.Fail, "not JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sound(t, sim)
			tt.change(&c)
			found := examined(t, c, false)
			f := found[tt.finding]
			if tt.verdict == checkup.OK && f.Verdict == checkup.Warn {
				f.Verdict = checkup.OK // a file system that does not last
			}
			expect(t, map[string]checkup.Finding{tt.finding: f}, tt.finding, tt.verdict, tt.detail)
			if _, told := found["store disk"]; told && found["store"].Verdict == checkup.Fail {
				t.Error("the room of a store that cannot be is told")
			}
		})
	}
}

func TestTakenAddressIsToldOf(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: Windows lets two programs listen on one address")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := sound(t, simulate(t))
	c.MetricsAddr = listener.Addr().String()
	expect(t, examined(t, c, false), "addresses", checkup.Fail, "address already in use")
}
