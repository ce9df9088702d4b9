//go:build real

package real_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
	"telecodex.dev/services/e2e/internal/responses"
)

// goneWithin bounds how long the processes of a turn may outlive what ended it: Codex has two seconds to obey, and a busy
// machine a few more.
const goneWithin = 15 * time.Second

var sandboxModes = []string{"read-only", "workspace-write", "danger-full-access"}

// marked lists the running processes, except this one and those in except, that mention mark in their command line, their
// environment, their working directory or their executable. Zombies are not running.
func marked(t *testing.T, mark string, except ...int) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	except = append(except, os.Getpid())
	var found []string
next:
	for _, path := range paths {
		for _, pid := range except {
			if filepath.Base(path) == strconv.Itoa(pid) {
				continue next
			}
		}
		// Each read fails when the process ends meanwhile; it is not running then.
		command, _ := os.ReadFile(filepath.Join(path, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(path, "environ"))
		cwd, _ := os.Readlink(filepath.Join(path, "cwd"))
		exe, _ := os.Readlink(filepath.Join(path, "exe"))
		all := bytes.Join([][]byte{command, environ, []byte(cwd), []byte(exe)}, []byte{0})
		if bytes.Contains(all, []byte(mark)) {
			command = bytes.ReplaceAll(command[:min(len(command), 256)], []byte{0}, []byte{' '})
			found = append(found, fmt.Sprintf("%s %s", filepath.Base(path), command))
		}
	}
	return found
}

// sleepers is a command that leaves processes behind in every way a shell knows (a session of its own, a daemon, a child), and
// the mark by which they are known.
func sleepers() (command, mark string) {
	seconds := fmt.Sprintf("36%02d.%d%d", turnNumber.Add(1), os.Getpid(), time.Now().UnixNano()%100_000)
	return strings.ReplaceAll("setsid sleep N & (setsid -f sleep N); (sleep N &); nohup sleep N >/dev/null 2>&1 & sleep N", "N", seconds),
		"sleep\x00" + seconds
}

const sleeperCount = 5

func commandRuns(event *orchestratorv1.TurnEvent) bool {
	return event.GetItemStarted().GetItem().GetCommandExecution() != nil
}

// runSleepers starts a turn whose command leaves processes everywhere, and returns when all of them run.
func runSleepers(t *testing.T, mode string) (w *worker, u *turn, mark string) {
	t.Helper()
	command, mark := sleepers()
	w = startWorker(t, startProvider(t, responses.Book{"Sleep": {responses.Run(command), responses.Say("Awake.")}}),
		map[string]string{"ORCHESTRATOR_ALLOWED_SANDBOXES": strings.Join(sandboxModes, ",")})
	u = w.begin(t, sandboxed(ask("sleepers", "Sleep"), mode))
	u.until(t, "the command runs", commandRuns)
	await(t, 30*time.Second, "all sleepers run", func() bool { return countExact(t, mark) == sleeperCount })
	return w, u, mark
}

// countExact counts the processes whose command line is the sleeper's, not those (shells, the sandbox) that quote it.
func countExact(t *testing.T, mark string) int {
	t.Helper()
	n := 0
	for _, process := range marked(t, mark) {
		if _, command, _ := strings.Cut(process, " "); strings.HasPrefix(command, "sleep ") {
			n++
		}
	}
	return n
}

func (w *worker) mustLeaveNothing(t *testing.T, mark string, except ...int) {
	t.Helper()
	await(t, goneWithin, "no process of the turn is left", func() bool {
		return len(marked(t, mark)) == 0 && len(marked(t, w.dir, except...)) == 0
	})
}

// mustHaveLeftNothing is mustLeaveNothing for a worker that goes on, and without patience: the outcome of a turn is told only
// when its processes are gone. mark may be empty.
func (w *worker) mustHaveLeftNothing(t *testing.T, mark string) {
	t.Helper()
	left := marked(t, w.dir, w.cmd.Process.Pid)
	if mark != "" {
		left = append(left, marked(t, mark)...)
	}
	if len(left) > 0 {
		t.Errorf("still running after finished: %s", strings.Join(left, "; "))
	}
}

func TestCancelledCommandLeavesNothing(t *testing.T) {
	for _, mode := range sandboxModes {
		t.Run(mode, func(t *testing.T) {
			w, u, mark := runSleepers(t, mode)
			if _, err := w.CancelTurn(t.Context(), &orchestratorv1.CancelTurnRequest{TurnId: u.id}); err != nil {
				t.Fatal(err)
			}
			u.rest(t)
			finished := u.finished(t)
			if finished.GetState() != orchestratorv1.TurnState_TURN_STATE_CANCELLED ||
				finished.GetErrorDetail().GetCause() != orchestratorv1.FinishCause_FINISH_CAUSE_CANCELLED {
				t.Errorf("finished: %v", finished)
			}
			w.mustHaveLeftNothing(t, mark)
		})
	}
}

func TestKilledWorkerLeavesNothing(t *testing.T) {
	for _, mode := range sandboxModes {
		t.Run(mode, func(t *testing.T) {
			w, _, mark := runSleepers(t, mode)
			w.kill(t)
			w.mustLeaveNothing(t, mark)
		})
	}
}

func TestEndedTurnLeavesNothing(t *testing.T) {
	command, mark := sleepers()
	w := startWorker(t, startProvider(t, responses.Book{"Leave them": {
		responses.Leave(command), responses.Run("sleep 0.5"), responses.Say("They sleep."),
	}}), map[string]string{"ORCHESTRATOR_ALLOWED_SANDBOXES": strings.Join(sandboxModes, ",")})
	for _, mode := range sandboxModes {
		t.Run(mode, func(t *testing.T) {
			u := w.run(t, sandboxed(ask("leave "+mode, "Leave them"), mode))
			u.mustSucceed(t)
			w.mustHaveLeftNothing(t, mark)
		})
	}
}

func TestSilentProviderIsEndedByTheWatchdog(t *testing.T) {
	provider := startProvider(t, responses.Book{"Anyone?": {responses.Silence()}})
	w := startWorker(t, provider, map[string]string{"ORCHESTRATOR_IDLE_TIMEOUT_S": "5"})
	u := w.begin(t, ask("silence", "Anyone?"))
	await(t, 30*time.Second, "Codex waits for the provider", func() bool { return provider.InFlight() == 1 })
	u.rest(t)
	finished := u.finished(t)
	if finished.GetState() != orchestratorv1.TurnState_TURN_STATE_FAILED ||
		finished.GetErrorDetail().GetCause() != orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT ||
		finished.GetErrorDetail().GetMessage() != "codex stream idle timeout" {
		t.Errorf("finished: %v", finished)
	}
	w.mustHaveLeftNothing(t, "")
	await(t, goneWithin, "the provider's connection is closed", func() bool { return provider.InFlight() == 0 })
}

func TestRunningCommandKeepsTheWatchdogQuiet(t *testing.T) {
	w := startWorker(t, startProvider(t, responses.Book{"Take your time": {responses.Run("sleep 12"), responses.Say("Done.")}}),
		map[string]string{"ORCHESTRATOR_IDLE_TIMEOUT_S": "5"})
	u := w.run(t, ask("slow", "Take your time"))
	u.mustSucceed(t)
	if got := u.answer(t); got != "Done." {
		t.Errorf("answer %q", got)
	}
}

func TestOverallLimitEndsACommand(t *testing.T) {
	command, mark := sleepers()
	w := startWorker(t, startProvider(t, responses.Book{"Sleep": {responses.Run(command), responses.Say("Awake.")}}), nil)
	request := ask("limited", "Sleep")
	request.Timeout = durationpb.New(4 * time.Second)
	finished := w.run(t, request).finished(t)
	if finished.GetState() != orchestratorv1.TurnState_TURN_STATE_FAILED ||
		finished.GetErrorDetail().GetCause() != orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT {
		t.Errorf("finished: %v", finished)
	}
	w.mustHaveLeftNothing(t, mark)
}

func TestStoppedWorkerInterruptsWhatOutlastsItsPatience(t *testing.T) {
	w, u, mark := runSleepers(t, "danger-full-access")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.stop(t)
	}()
	u.rest(t)
	<-stopped
	finished := u.finished(t)
	if finished.GetState() != orchestratorv1.TurnState_TURN_STATE_INTERRUPTED ||
		finished.GetErrorDetail().GetCause() != orchestratorv1.FinishCause_FINISH_CAUSE_DRAINED {
		t.Errorf("finished: %v", finished)
	}
	w.mustLeaveNothing(t, mark)
}

func TestNativeBinaryRunsWithoutNode(t *testing.T) {
	w, _, _ := runSleepers(t, "workspace-write")
	for _, process := range marked(t, w.dir, w.cmd.Process.Pid) {
		if _, command, _ := strings.Cut(process, " "); strings.HasPrefix(filepath.Base(strings.Fields(command + " -")[0]), "node") {
			t.Errorf("the script around Codex runs: %s", process)
		}
	}
}

func TestCommandsCannotReadTheWorkersState(t *testing.T) {
	w := startWorker(t, startProvider(t, responses.Book{"Look around": {
		responses.Run(`cd ../.. && ls && find state -type f && find state -type f -exec cat {} + | head -c 1000`), responses.Say("Seen."),
	}}), map[string]string{"ORCHESTRATOR_ALLOWED_SANDBOXES": strings.Join(sandboxModes, ",")})
	for _, mode := range sandboxModes {
		t.Run(mode, func(t *testing.T) {
			u := w.run(t, sandboxed(ask("look "+mode, "Look around"), mode))
			u.mustSucceed(t)
			output := u.completed()[0].GetCommandExecution().GetAggregatedOutput()
			if _, below, found := strings.Cut(output, "workspaces\n"); !found || below != "" {
				t.Errorf("the command printed %q", output)
			}
		})
	}
}
