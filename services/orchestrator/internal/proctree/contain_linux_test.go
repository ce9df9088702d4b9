package proctree_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

// inNamespace opens a Supervisor with namespaces, or skips the test where there are none.
func inNamespace(t *testing.T) *proctree.Supervisor {
	t.Helper()
	i := slices.IndexFunc(containments(), func(c containment) bool { return c.mode == proctree.Namespace })
	if refused := containments()[i].refused; refused != nil {
		t.Skipf("this machine refuses namespaces to this user: %v", refused)
	}
	return open(t, proctree.Options{Mode: proctree.Namespace})
}

// write makes a file, and its directory, and returns its path.
func write(t *testing.T, elements ...string) string {
	t.Helper()
	path := filepath.Join(elements...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// masked is a directory with something to hide and something to keep, and the Spec that does so.
func masked(t *testing.T, name string, args ...string) (dir string, spec proctree.Spec) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "state", "journal.db")
	write(t, dir, "state", "workspaces", "mine", "code")
	write(t, dir, "state", "workspaces", "theirs", "code")
	write(t, dir, "state", "home", "config")
	write(t, dir, "state", "home", "private", "key")
	write(t, dir, "state", "one-file")
	if err := os.Symlink(write(t, dir, "token"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for i, arg := range args {
		args[i] = filepath.Join(dir, arg)
	}
	spec = part(name, args...)
	spec.Dir = filepath.Join(dir, "state", "workspaces", "mine")
	for _, path := range []string{"state", "state/home/private", "link", "missing"} {
		spec.Mask = append(spec.Mask, filepath.Join(dir, path))
	}
	spec.Keep = []string{filepath.Join(dir, "state", "home"), filepath.Join(dir, "state", "one-file"), filepath.Join(dir, "none")}
	return dir, spec
}

func TestMaskHidesAllButWhatIsKept(t *testing.T) {
	s := inNamespace(t)
	t.Run("from reading", func(t *testing.T) {
		want := map[string][]string{
			"state":                   {"home", "one-file", "workspaces"},
			"state/journal.db":        nil,
			"state/one-file":          {"secret"},
			"state/workspaces":        {"mine"},
			"state/workspaces/mine":   {"code"},
			"state/workspaces/theirs": nil,
			"state/home":              {"config", "private"},
			"state/home/private":      {},
			"token":                   {""},
			"link":                    {""},
		}
		var paths []string
		for path := range want {
			paths = append(paths, path)
		}
		dir, spec := masked(t, "glance", paths...)
		got := make(map[string][]string)
		for path, found := range result[map[string][]string](t, s, spec) {
			got[strings.TrimPrefix(path, dir+"/")] = found
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("from writing", func(t *testing.T) {
		dir, spec := masked(t, "touch", "state/new", "state/workspaces/new", "state/home/private/new", "state/home/new", "state/workspaces/mine/new")
		want := []string{filepath.Join(dir, "state/home/new"), filepath.Join(dir, "state/workspaces/mine/new")}
		if diff := cmp.Diff(want, result[[]string](t, s, spec)); diff != "" {
			t.Error(diff)
		}
		for _, path := range want {
			if content, err := os.ReadFile(path); err != nil || string(content) != "written" {
				t.Errorf("outside: %q, %v", content, err)
			}
		}
	})
	t.Run("and cannot be peeled off", func(t *testing.T) {
		for _, nested := range []bool{false, true} {
			dir, spec := masked(t, "peel", "state/home/private", "token", "state/journal.db")
			if nested {
				spec.Args = append([]string{helperArg, "nest"}, spec.Args[1:]...)
			}
			want := map[string][]string{
				filepath.Join(dir, "state/home/private"): {},
				filepath.Join(dir, "token"):              {""},
				filepath.Join(dir, "state/journal.db"):   nil,
			}
			if diff := cmp.Diff(want, result[map[string][]string](t, s, spec)); diff != "" {
				t.Errorf("nested %v: %s", nested, diff)
			}
		}
	})
	t.Run("and the program itself may be hidden", func(t *testing.T) {
		dir := t.TempDir()
		program := write(t, dir, "program")
		if err := os.Chmod(program, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := s.Start(proctree.Spec{Path: program, Mask: []string{dir}, Dir: "/"})
		if spawn, ok := err.(*proctree.SpawnError); !ok || spawn.Kind != proctree.NotFound {
			t.Errorf("got %v", err)
		}
	})
}

func TestProcShowsOnlyTheChildAndItsOwn(t *testing.T) {
	s := inNamespace(t)
	for _, spec := range []proctree.Spec{part("glance", "/proc"), part("nest", "glance", "/proc")} {
		var processes []string
		for _, name := range result[map[string][]string](t, s, spec)["/proc"] {
			if _, err := strconv.Atoi(name); err == nil {
				processes = append(processes, name)
			}
		}
		if want := map[string]int{"glance": 1, "nest": 1}[spec.Args[1]]; len(processes) != want || processes[0] != "1" {
			t.Errorf("%s: got %v", spec.Args[1], processes)
		}
	}
}

func TestCapabilitiesAreDropped(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		status := result[map[string][]string](t, s, part("glance", "/proc/self/status"))["/proc/self/status"][0]
		want := "0000000000000000"
		if os.Geteuid() == 0 {
			want = "0000000080000000" // CAP_SETFCAP, without which bubblewrap does not work for uid 0
		}
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			want := want
			if set == "CapInh" || set == "CapAmb" {
				want = "0000000000000000"
			}
			if set == "CapBnd" && os.Geteuid() != 0 && s.Containment() != "namespace" {
				continue // an unprivileged worker cannot drop it
			}
			if !strings.Contains(status, set+":\t"+want+"\n") {
				t.Errorf("%s is not %s in %s", set, want, status)
			}
		}
	})
}

func TestOrphansAreReaped(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		if left := result[int](t, s, part("litter")); left != 1 {
			t.Errorf("%d children of the init are left", left)
		}
	}, "namespace") // there they go with the program
}

func TestForkingWithoutEndEnds(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		p := start(t, s, part("hop-parent"))
		ready(t, p)
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		p.Wait()
		if _, err := io.ReadAll(p.Stdout()); err != nil { // ends only when nobody holds it
			t.Error(err)
		}
	})
}

// startWorker runs a worker process with a child that has a stubborn descendant.
func startWorker(t *testing.T, mode proctree.Mode, state string, w *witness) *os.Process {
	t.Helper()
	cmd := command(helperArg, "worker", strconv.Itoa(int(mode)), state, w.address())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	w.alive(t)
	return cmd.Process
}

func TestNoDescendantSurvivesTheWorkersSIGKILL(t *testing.T) {
	eachMode(t, func(t *testing.T, mode proctree.Mode) {
		w := newWitness(t)
		worker := startWorker(t, mode, t.TempDir(), w)
		if err := worker.Kill(); err != nil {
			t.Fatal(err)
		}
		w.dies(t)
	})
}

func TestTheNextStartKillsWhatWasLeft(t *testing.T) {
	eachMode(t, func(t *testing.T, mode proctree.Mode) {
		w, state := newWitness(t), t.TempDir()
		worker := startWorker(t, mode, state, w)
		// Without its init, and without a worker that notices, nothing is left that could do it before.
		stop(t, worker)
		for _, pid := range children(worker.Pid) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		if err := worker.Kill(); err != nil {
			t.Fatal(err)
		}
		_, _ = worker.Wait()
		w.alive(t)

		open(t, proctree.Options{StateDir: state})
		w.dead(t)
		if notes, err := os.ReadDir(filepath.Join(state, "children")); err != nil || len(notes) > 0 {
			t.Errorf("left behind: %v, %v", notes, err)
		}
	}, "namespace") // there the kernel leaves nothing
}

func TestChildrenOfALivingWorkerAreLeftAlone(t *testing.T) {
	eachMode(t, func(t *testing.T, mode proctree.Mode) {
		w, state := newWitness(t), t.TempDir()
		startWorker(t, mode, state, w)
		open(t, proctree.Options{Mode: mode, StateDir: state})
		w.alive(t)
	})
}

// TestAsUnprivilegedUser runs the tests of containment once more as a user who may nothing.
func TestAsUnprivilegedUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	const uid = 12345
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	cmd := command("-test.skip=TestStd|TestChildGets|TestChildBegins|TestManyAtOnce|TestSpawnErrors|TestAShim", "-test.count=1", "-test.timeout=5m", "-test.v")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNoDescendantSurvives ") {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%d tests passed", strings.Count(string(out), "--- PASS: "))
}
