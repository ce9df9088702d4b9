package docs

import (
	"bufio"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// example is a line of a manual page.
type example struct {
	line  string
	shows string // what its output must match
	// then is typed after it, in the same shell; shell is which one; empty: sh.
	then, shell string
	// serves says that it runs until it is interrupted.
	serves bool
	// worker is which of the two it is about, 1 or 2; 0: none of them.
	worker int
}

// examples are those of all pages. The ones about workers build on each other.
func examples() []example {
	const one, other = 1, 2
	answered := `"sent_count":1,"status":"ok"`
	return []example{
		{line: "telecodex demo", shows: `(?s)"sent_count":1`},
		{line: `telecodex demo --message "What is 6 times 7?"`, shows: `(?s)6 times 7.*"sent_count":1`},
		{line: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 telecodex", shows: answered},
		{line: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 telecodex run", shows: answered},
		{line: "telecodex run --once", shows: answered},
		{line: "telecodex smoke --simulated", shows: `\nGO: `},
		{line: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 telecodex smoke --live", shows: `\nGO: `},
		{line: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 telecodex doctor", shows: `(?m)^\d+ ok, \d+ warn, 0 fail$`},
		{line: "telecodex doctor --json", shows: `^{"status":"(ok|warn)",`},
		{line: "source <(telecodex completion bash)", shell: "bash", then: "complete -p telecodex gateway orchestrator", shows: `_telecodex telecodex\n.*_gateway gateway\n.*_orchestrator orchestrator`},
		{line: "source <(telecodex completion zsh)", shell: "zsh", then: "print $_comps[telecodex] $_comps[gateway] $_comps[orchestrator]", shows: `_telecodex _gateway _orchestrator`},
		{line: "telecodex completion fish | source", shell: "fish", then: "complete -C 'telecodex smo'", shows: `^smoke\b`},
		{line: "CHANNEL_TOKEN_FILE=token.txt CHANNEL_ALLOWED_CHAT_IDS=123456789 gateway", shows: answered},
		{line: "gateway --orchestrator-mode default", shows: answered},
		{line: "gateway healthcheck", worker: one, shows: `^gateway at \S+ serves\n$`},
		{line: "orchestrator", serves: true, shows: `"serving"`},
		{line: "orchestrator --allowed-sandboxes read-only --max-turns 4", serves: true, shows: `"serving"`},
		{line: "orchestrator doctor", shows: `(?m)^\d+ ok, \d+ warn, 0 fail$`},
		{line: "orchestrator healthcheck", worker: one, shows: `^orchestrator at \S+ serves\n$`},
		{line: "orchestrator drain --patience 600", worker: one, shows: `is empty and takes no turns`},
		{line: "orchestrator export", worker: one, shows: `"session_id":"telegram:123456789"`},
		{line: "orchestrator export telegram:123456789 --out session.tgz", worker: one, shows: `"file":"session.tgz"}\n$`},
		{line: "orchestrator import session.tgz | grpcurl -plaintext -d @ 127.0.0.1:7451 telecodex.gateway.v1.GatewayService/MoveSession", worker: other, shows: `"applied": true`},
	}
}

// Every example of every manual page does what it is for.
func TestEveryExampleOfEveryPageWorks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("not on windows: the pages show lines for a POSIX shell")
	}
	if _, err := os.Stat(grpcurl(t)); err != nil {
		t.Skip("grpcurl is not there: `make .bin/grpcurl` builds it")
	}
	t.Parallel()
	s := startTwo(t)
	operators, err := harness.Build(t.Context(), filepath.Join(s.dir, "operator"), "telecodex")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "token.txt"), []byte(telegramsim.DefaultToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(s.programs.Path("fakecodex"), filepath.Join(s.dir, "bin", "codex")); err != nil {
		t.Fatal(err)
	}
	s.say(t, "hello", 1) // so that there is a conversation
	documented := map[string]bool{}
	for _, program := range []string{operators.Path("telecodex"), s.programs.Path("gateway"), s.programs.Path("orchestrator")} {
		for _, line := range pageExamples(t, program) {
			documented[line] = true
		}
	}
	tested := map[string]bool{}
	for i, e := range examples() {
		tested[e.line] = true
		t.Run(e.line, func(t *testing.T) {
			if e.worker == 0 {
				t.Parallel()
			}
			if output := s.example(t, e, int64(i)); !regexp.MustCompile(e.shows).MatchString(output) {
				t.Errorf("the output does not match %q:\n%s", e.shows, output)
			}
		})
	}
	if !maps.Equal(documented, tested) {
		t.Errorf("the pages show\n%q, the test runs\n%q", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(tested)))
	}
}

// pageExamples are the examples of a program's page and of those of its commands.
func pageExamples(t *testing.T, program string) (lines []string) {
	t.Helper()
	page := func(words ...string) map[string][]string {
		text, err := exec.CommandContext(t.Context(), program, append(words, "--help")...).Output()
		if err != nil {
			t.Fatalf("%s %v: %v", program, words, err)
		}
		return sections(string(text))
	}
	main := page()
	lines = main["EXAMPLES"]
	for _, entry := range main["COMMANDS"] {
		own := page(strings.Fields(entry)[0])["EXAMPLES"]
		if len(own) == 0 {
			t.Errorf("%s %s has no example", program, entry)
		}
		lines = append(lines, own...)
	}
	return lines
}

// sections are the entries of a page by section: what stands at the first
// indentation, lines that were broken together.
func sections(text string) map[string][]string {
	found := map[string][]string{}
	name, fresh := "", true
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch entry, indented := strings.CutPrefix(line, "    "); {
		case line == "":
		case !indented:
			name, fresh = line, true
		case strings.HasPrefix(entry, "    "):
			fresh = true
		case fresh || name == "COMMANDS":
			found[name], fresh = append(found[name], entry), false
		default:
			found[name][len(found[name])-1] += " " + entry
		}
	}
	return found
}

// example runs one as a person would, who is asked for messages and writes them,
// and returns what it prints.
func (s *two) example(t *testing.T, e example, number int64) string {
	t.Helper()
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	if err := sim.SetNextUpdateID(900000000 + 1000*number); err != nil { // each is another bot to the same worker
		t.Fatal(err)
	}
	write := func() { sim.Inject(telegramsim.Incoming{ChatID: documentedChat, Text: "hello"}) }
	if !strings.Contains(e.line, "--live") {
		write()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	line := strings.NewReplacer("127.0.0.1:7451", s.operator, "smoke --simulated", "smoke --simulated --limit-s 100").Replace(e.line)
	command := exec.CommandContext(ctx, shellFor(t, e.shell), "-c", line)
	switch {
	case e.serves:
		command.Args[2] = "exec " + line
	case e.shell == "zsh":
		command.Args = []string{command.Path, "-f", "-c", "autoload -U compinit; compinit -u -D\n" + line + "\n" + e.then}
	case e.then != "":
		command.Args[2] = line + "\n" + e.then
	}
	command.Dir, command.Env = s.dir, append(os.Environ(), s.settings(t, e, sim.URL)...)
	reader, writer := outputOf(t)
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	var output strings.Builder
	stop := sync.OnceFunc(func() { _ = command.Process.Signal(syscall.SIGTERM) })
	for lines := bufio.NewReader(reader); ; {
		text, err := lines.ReadString('\n')
		output.WriteString(text)
		if strings.Contains(text, "send this message to the bot") {
			write()
		}
		if e.serves && strings.Contains(text, `"serving"`) {
			stop()
		}
		if err != nil {
			break
		}
	}
	if err := command.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, output.String())
	}
	return output.String()
}

// settings are the environment of an example: of one of the two workers, or of
// programs of its own.
func (s *two) settings(t *testing.T, e example, telegram string) []string {
	t.Helper()
	own := t.TempDir()
	if err := os.Mkdir(filepath.Join(own, "codex"), 0o700); err != nil { // whoever is logged in has one
		t.Fatal(err)
	}
	env := []string{"CHANNEL_TELEGRAM_API_URL=" + telegram, "CHANNEL_STORE=" + filepath.Join(own, "gateway.db"), "CHANNEL_CURSOR_STATE_PATH=",
		"CHANNEL_METRICS_ADDR=off", "ORCHESTRATOR_METRICS_ADDR=off", "HOME=" + own,
		"PATH=" + strings.Join([]string{filepath.Join(s.dir, "operator"), filepath.Join(s.dir, "bin"), pinnedTools(t), os.Getenv("PATH")}, string(os.PathListSeparator))}
	if e.worker > 0 {
		dir := []string{"one", "other"}[e.worker-1]
		worker := s.workers[e.worker-1]
		return append(env, "CHANNEL_TOKEN="+telegramsim.DefaultToken, "CHANNEL_ALLOWED_CHAT_IDS=123456789", "CHANNEL_LISTEN_ADDR="+s.operator,
			"ORCHESTRATOR_LISTEN_ADDR="+worker.Addr, "ORCHESTRATOR_STATE_DIR="+worker.StateDir(), "ORCHESTRATOR_CODEX_HOME="+filepath.Join(s.dir, dir, "codex"))
	}
	env = append(env, "CHANNEL_LISTEN_ADDR=off", "ORCHESTRATOR_LISTEN_ADDR=127.0.0.1:0", "ORCHESTRATOR_STATE_DIR="+filepath.Join(own, "state"), "CODEX_HOME="+filepath.Join(own, "codex"))
	if !strings.Contains(e.line, "smoke") {
		env = append(env, "CHANNEL_ONCE=true")
	}
	if !strings.Contains(e.line, "CHANNEL_TOKEN_FILE") {
		env = append(env, "CHANNEL_TOKEN="+telegramsim.DefaultToken, "CHANNEL_ALLOWED_CHAT_IDS=123456789")
	}
	if strings.Contains(e.line, "gateway") {
		env = append(env, "CHANNEL_ORCHESTRATOR_ADDR="+s.workers[1].Addr)
	}
	return env
}

// shellFor finds the shell that an example is for.
func shellFor(t *testing.T, name string) string {
	t.Helper()
	if name == "" {
		name = "sh"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// outputOf is a pipe that ends when everything that was started has ended.
func outputOf(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	return reader, writer
}
