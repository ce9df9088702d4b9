package docs

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/e2e/internal/harness"
	"telecodex.dev/services/internal/telegramsim"
)

// instead says who runs a line that this test cannot run: what make would do is
// looked at, and that a text stands where the line is said to be run for real.
type instead struct{ shows, file, text string }

// elsewhere are all lines that this test does not run.
var elsewhere = map[string]instead{
	// It would compile everything once more; the lines are run with what is built as
	// it builds.
	"make build": {`go build`, ".ci/run", "section \"build\" make --no-print-directory build\n"},
	// This test is run by it.
	"make test": {`testreport`, ".ci/run", "section \"test\" make --no-print-directory test\n"},
	// It takes half a minute, as a test of its own beside it.
	`make conformance ADDR=127.0.0.1:7450 SHARED_DIR="$PWD"/by-hand`: {`ADDR='127\.0\.0\.1:7450' SHARED_DIR='/.*/by-hand'(?s).*/e2e/conformance`,
		".ci/run", "make --no-print-directory conformance SHARED_DIR="},
	"make conformance ADDR=127.0.0.1:7450 CA_FILE=tls/ca.pem CERT_FILE=tls/operator.pem KEY_FILE=tls/operator.key TOKEN_FILE=tls/token": {
		`(?s)CA_FILE='tls/ca\.pem' CERT_FILE='tls/operator.pem' KEY_FILE='tls/operator.key'.*TOKEN_FILE='tls/token'`,
		"services/e2e/conformance/access_test.go", `"CERT_FILE=" + client.Cert, "KEY_FILE=" + client.Key, "TOKEN_FILE=" + tokenFile`},
}

func (i instead) look(t *testing.T, line string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(i.file)))
	if err != nil || !strings.Contains(string(text), i.text) {
		t.Errorf("%s: %s does not run it: %v", line, i.file, err)
	}
	command := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(line, "make ", "make --dry-run --no-print-directory ", 1))
	command.Dir, command.Env = root, clean(os.Environ())
	output, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	return string(output)
}

// clean is an environment without settings of the programs, and without what a make
// that runs this test tells those that it starts.
func clean(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(word string) bool {
		return regexp.MustCompile(`^(CHANNEL|ORCHESTRATOR|CODEX|FAKE)_|^(MAKEFLAGS|MFLAGS|MAKELEVEL|MAKEOVERRIDES)=`).MatchString(word)
	})
}

// copyMakefile lets make be run in another directory.
func copyMakefile(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "Makefile"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// act is a block of lines at the stage. What one of them starts in the background
// runs until the act's end, and the lines after it meet that.
type act struct {
	stage
	block *testing.T
}

func (s stage) begin(block *testing.T) *act {
	s.env, s.addrs = slices.Clone(s.env), maps.Clone(s.addrs)
	return &act{s, block}
}

// run runs a line as a person would and returns what it prints.
func (a *act) run(t *testing.T, line string) string {
	t.Helper()
	command, env := line, a.env
	for documented, used := range a.addrs {
		command = strings.ReplaceAll(command, documented, used)
	}
	switch {
	case line == "bin/faketelegram &":
		a.startTelegram(t, strings.TrimSuffix(command, "&"))
		return ""
	case strings.HasPrefix(line, "bin/orchestrator ") && strings.HasSuffix(line, "&"):
		a.startWorker(t, strings.TrimSuffix(command, "&"))
		return ""
	case strings.HasPrefix(line, "sudo "):
		a.startWorkerAsAnotherUser(t, command)
		return ""
	case line == "make run": // all but the build, as in the next
		command, env = "make --no-print-directory -o build run", append(clean(os.Environ()), "HOME="+a.dir)
	case strings.HasSuffix(line, " make run"):
		command, env = strings.Replace(command, "make run", "make --no-print-directory -o build run", 1), append(env, "CHANNEL_ORCHESTRATOR_ADDR=")
		a.message()
	case strings.HasPrefix(line, ".bin/grpcurl "):
		if _, err := os.Stat(grpcurl(t)); err != nil {
			t.Skip("grpcurl is not there: `make .bin/grpcurl` builds it")
		}
	case strings.HasPrefix(line, "curl "):
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("curl is not installed")
		}
	case strings.HasSuffix(line, "bin/gateway"):
		a.message()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-c", command)
	shell.Dir, shell.Env = a.dir, env
	var stderr strings.Builder
	shell.Stderr = &stderr
	output, err := shell.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s%s", line, err, output, stderr.String())
	}
	return string(output)
}

// start starts a line in the background; it is stopped when the act ends.
func (a *act) start(t *testing.T, command string, env ...string) *harness.Process {
	t.Helper()
	process, err := harness.Start(harness.Command{Path: "/bin/sh", Args: []string{"-c", "exec " + command}, Dir: a.dir, Env: append(slices.Clone(a.env), env...)})
	if err != nil {
		t.Fatal(err)
	}
	a.block.Cleanup(func() {
		if err := process.Stop(20 * time.Second); err != nil {
			a.block.Errorf("%s: %v: %s", command, err, process.Stderr())
		}
	})
	return process
}

// startTelegram starts the simulator, at an address that is free.
func (a *act) startTelegram(t *testing.T, command string) {
	t.Helper()
	file := filepath.Join(a.dir, "telegram-addr")
	process := a.start(t, fmt.Sprintf("%s -addr 127.0.0.1:0 -addr-file %s", command, file))
	eventually(t, process, func() bool {
		addr, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		a.addrs["http://127.0.0.1:8081"] = "http://" + strings.TrimSpace(string(addr))
		once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := once.Get(a.addrs["http://127.0.0.1:8081"] + "/control/state")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// workerSettings are those by which a worker is beside others, not what it does.
var workerSettings = []string{"ORCHESTRATOR_LISTEN_ADDR=127.0.0.1:0", "ORCHESTRATOR_METRICS_ADDR=off", "ORCHESTRATOR_DRAIN_S=1"}

// startWorker starts a worker, which the gateways of this act then know, and a bot of
// its own: nothing of it has run elsewhere.
func (a *act) startWorker(t *testing.T, command string, env ...string) {
	t.Helper()
	process := a.start(t, command, append(env, workerSettings...)...)
	serving := regexp.MustCompile(`"serving","address":"(127\.0\.0\.1:\d+)"`)
	eventually(t, process, func() bool { return serving.MatchString(process.Stderr()) })
	addr := serving.FindStringSubmatch(process.Stderr())[1]
	a.addrs["127.0.0.1:7450"] = addr
	sim, err := telegramsim.Start("127.0.0.1:0", telegramsim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a.block.Cleanup(func() {
		if err := sim.Close(); err != nil {
			a.block.Error(err)
		}
	})
	a.message = func() { sim.Inject(telegramsim.Incoming{ChatID: documentedChat, Text: "hello"}) }
	a.env = append(a.env, "CHANNEL_TELEGRAM_API_URL="+sim.URL, "CHANNEL_ORCHESTRATOR_ADDR="+addr,
		"CHANNEL_STORE="+filepath.Join(a.block.TempDir(), "gateway.db"), "CHANNEL_CURSOR_STATE_PATH=")
}

// asUser stands in for sudo, which wants another user: it does what `sudo -b -i -u`
// does, in that user's home with the user's settings alone, as this user.
const asUser = `#!/bin/sh
[ "$1 $2 $3 $4" = "-b -i -u codex" ] && shift 4 || exit 64
cd "$USERS_HOME" && exec env -i HOME="$USERS_HOME" PATH="$USERS_HOME/bin:/usr/bin:/bin" sh -c '. ./.profile && exec "$0" "$@"' "$@"
`

// startWorkerAsAnotherUser starts a worker from the home of a user who has Codex.
func (a *act) startWorkerAsAnotherUser(t *testing.T, command string) {
	t.Helper()
	home, tools := a.block.TempDir(), a.block.TempDir()
	profile := "export " + strings.Join(workerSettings, " ") + "\n"
	for path, text := range map[string]string{filepath.Join(home, ".profile"): profile, filepath.Join(tools, "sudo"): asUser} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(a.dir, "bin", "fakecodex"), filepath.Join(home, "bin", "codex")); err != nil {
		t.Fatal(err)
	}
	a.startWorker(t, command, "USERS_HOME="+home, "PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	if _, err := os.Stat(filepath.Join(home, ".orchestrator")); err != nil {
		t.Errorf("the worker's state is not in that user's home: %v", err)
	}
}

func eventually(t *testing.T, process *harness.Process, met func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !met(); {
		select {
		case <-process.Done():
			t.Fatalf("it ended: %s%s", process.Stdout(), process.Stderr())
		case <-deadline:
			t.Fatalf("it never serves: %s%s", process.Stdout(), process.Stderr())
		case <-tick.C:
		}
	}
}
