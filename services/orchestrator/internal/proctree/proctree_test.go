package proctree_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

// containment is a mode, and why this user cannot have it on this machine.
type containment struct {
	name    string
	mode    proctree.Mode
	refused error
}

// containments are all that this system knows.
var containments = sync.OnceValue(func() []containment {
	if runtime.GOOS != "linux" {
		return []containment{{name: "auto", mode: proctree.Auto}}
	}
	all := []containment{{name: "scan", mode: proctree.Scan}, {name: "cgroup", mode: proctree.Cgroup}, {name: "namespace", mode: proctree.Namespace}}
	for i, c := range all {
		s, err := proctree.New(proctree.Options{Mode: c.mode})
		if all[i].refused = err; err == nil {
			_ = s.Close()
		}
	}
	return all
})

// eachMode runs the test under every containment but those that it does not concern. What this machine refuses is skipped.
func eachMode(t *testing.T, test func(t *testing.T, mode proctree.Mode), except ...string) {
	for _, c := range containments() {
		if slices.Contains(except, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if c.refused != nil {
				t.Skipf("this machine refuses the containment %s to this user: %v", c.name, c.refused)
			}
			test(t, c.mode)
		})
	}
}

// inEachMode is eachMode with a Supervisor.
func inEachMode(t *testing.T, test func(t *testing.T, s *proctree.Supervisor), except ...string) {
	eachMode(t, func(t *testing.T, mode proctree.Mode) {
		test(t, open(t, proctree.Options{Mode: mode, StateDir: t.TempDir()}))
	}, except...)
}

func TestExitIsReportedFaithfully(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		for _, code := range []int{0, 1, 42, 255} {
			_, exit := run(t, s, part("exit", strconv.Itoa(code)))
			if exit.Code != code || exit.Signal != "" || exit.Err != nil {
				t.Errorf("exit %d: got %+v", code, exit)
			}
		}
	})
}

// interrupted tells whether a Go program without a handler of its own ended by SIGINT. The first process of a namespace cannot end
// itself by a signal; Go leaves with status 2 then.
func interrupted(s *proctree.Supervisor, exit proctree.Exit) bool {
	return exit.Signal == "SIGINT" && exit.Code == -1 || s.Containment() == "namespace" && exit.Code == 2
}

func TestInterrupt(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		t.Run("is caught by a handler", func(t *testing.T) {
			p := start(t, s, part("graceful"))
			ready(t, p)
			if err := p.Interrupt(); err != nil {
				t.Fatal(err)
			}
			if exit := p.Wait(); exit.Code != 7 || exit.Signal != "" {
				t.Errorf("got %+v", exit)
			}
		})
		t.Run("ends by default", func(t *testing.T) {
			p := start(t, s, part("block"))
			ready(t, p)
			if err := p.Interrupt(); err != nil {
				t.Fatal(err)
			}
			if exit := p.Wait(); !interrupted(s, exit) {
				t.Errorf("got %+v", exit)
			}
		})
		t.Run("after the end is no error", func(t *testing.T) {
			p := start(t, s, part("exit", "0"))
			p.Wait()
			if err := errors.Join(p.Interrupt(), p.Kill()); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestKill(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		p := start(t, s, part("block"))
		ready(t, p)
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if exit := p.Wait(); exit.Code != -1 || exit.Signal != "SIGKILL" || exit.Err != nil {
			t.Errorf("got %+v", exit)
		}
	})
}

func TestStdin(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		for name, input := range map[string][]byte{
			"empty": nil,
			"text":  []byte("hello\x00world\n"),
			"8 MiB": bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16),
		} {
			t.Run(name+" is delivered, then ends", func(t *testing.T) {
				spec := part("cat")
				spec.Stdin = input
				out, exit := run(t, s, spec)
				if exit.Code != 0 || !bytes.Equal(out, input) {
					t.Errorf("got %d bytes of %d, exit %+v", len(out), len(input), exit)
				}
			})
		}
		t.Run("unread is no error", func(t *testing.T) {
			spec := part("exit", "3")
			spec.Stdin = make([]byte, 32<<20)
			if _, exit := run(t, s, spec); exit.Code != 3 || exit.Err != nil {
				t.Errorf("got %+v", exit)
			}
		})
	})
}

func TestStdoutEndsWhenTheChildClosesIt(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		p := start(t, s, part("mute"))
		if out, err := io.ReadAll(p.Stdout()); err != nil || len(out) > 0 {
			t.Fatalf("got %q, %v", out, err)
		}
		select {
		case <-p.Done():
			t.Error("the child has ended too")
		default:
		}
	})
}

func TestStdoutIsReadableAfterTheEnd(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		spec := part("cat")
		spec.Stdin = bytes.Repeat([]byte("x"), 60<<10)
		p := start(t, s, spec)
		p.Wait()
		out, err := io.ReadAll(p.Stdout())
		if err != nil || len(out) != len(spec.Stdin) {
			t.Errorf("got %d bytes, %v", len(out), err)
		}
		if _, err := p.Stdout().Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("second end: %v", err)
		}
	})
}

func TestStderrIsDrainedAndItsTailKept(t *testing.T) {
	s := open(t, proctree.Options{})
	for _, test := range []struct{ written, limit, want int }{
		{written: 0, limit: 100, want: len("\nthe end\n")},
		{written: 50, limit: 100, want: 50 + len("\nthe end\n")},
		{written: 4 << 20, limit: 100, want: 100},
		{written: 4 << 20, limit: 0, want: 8 << 10},
	} {
		spec := part("spew", strconv.Itoa(test.written))
		spec.StderrTail = test.limit
		_, exit := run(t, s, spec)
		if len(exit.StderrTail) != test.want || !bytes.HasSuffix(exit.StderrTail, []byte("\nthe end\n")) {
			t.Errorf("%+v: kept %d bytes", test, len(exit.StderrTail))
		}
	}
}

func TestChildGetsExactlyWhatTheSpecSays(t *testing.T) {
	t.Setenv("TELECODEX_SECRET", "must not leak")
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		t.Run("environment", func(t *testing.T) {
			for _, env := range [][]string{nil, {"A=1", "B=two words", "GOMAXPROCS=3"}} {
				spec := part("environment")
				spec.Env = env
				got := result[[]string](t, s, spec)
				if diff := cmp.Diff(append([]string{}, env...), got); diff != "" {
					t.Error(diff)
				}
			}
		})
		t.Run("arguments", func(t *testing.T) {
			args := []string{"", "a b", "--x", "日本", strings.Repeat("y", 100_000)}
			got := result[[]string](t, s, part("arguments", args...))
			if diff := cmp.Diff(args, got); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("directory", func(t *testing.T) {
			spec := part("directory")
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			spec.Dir = dir
			if got := result[string](t, s, spec); got != dir {
				t.Errorf("got %q", got)
			}
		})
	})
}

func TestSpawnErrorsAreTyped(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	with := func(change func(*proctree.Spec)) proctree.Spec {
		spec := part("exit", "0")
		change(&spec)
		return spec
	}
	tests := map[string]struct {
		spec proctree.Spec
		want proctree.SpawnKind
	}{
		"no such file":           {proctree.Spec{Path: filepath.Join(dir, "none")}, proctree.NotFound},
		"no such name":           {proctree.Spec{Path: "no-such-program-anywhere"}, proctree.NotFound},
		"no path at all":         {proctree.Spec{}, proctree.NotFound},
		"a directory":            {proctree.Spec{Path: dir}, proctree.NotExecutable},
		"no permission":          {proctree.Spec{Path: file("plain", "#!/bin/sh\n", 0o644)}, proctree.NotExecutable},
		"no program":             {proctree.Spec{Path: file("garbage", "garbage", 0o755)}, proctree.NotExecutable},
		"no interpreter":         {proctree.Spec{Path: file("script", "#!/no/such/interpreter\n", 0o755)}, proctree.NotExecutable},
		"no directory":           {with(func(s *proctree.Spec) { s.Dir = filepath.Join(dir, "none") }), proctree.Refused},
		"a file for a directory": {with(func(s *proctree.Spec) { s.Dir = filepath.Join(dir, "plain") }), proctree.Refused},
		"an argument too long":   {with(func(s *proctree.Spec) { s.Args = []string{strings.Repeat("x", 256<<10)} }), proctree.Refused},
		"NUL in an argument":     {with(func(s *proctree.Spec) { s.Args = []string{"a\x00b"} }), proctree.Refused},
	}
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				_, err := s.Start(test.spec)
				var spawn *proctree.SpawnError
				if !errors.As(err, &spawn) || spawn.Kind != test.want {
					t.Fatalf("got %v", err)
				}
				if errors.Unwrap(spawn) == nil || len(err.Error()) > 500 {
					t.Errorf("text of %d bytes", len(err.Error()))
				}
			})
		}
	})
}

func TestClose(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		p := start(t, s, part("block"))
		ready(t, p)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-p.Done():
		default:
			t.Error("Close returned before the child was gone")
		}
		var spawn *proctree.SpawnError
		if _, err := s.Start(part("exit", "0")); !errors.As(err, &spawn) || !errors.Is(err, proctree.ErrClosed) {
			t.Errorf("Start after Close: %v", err)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	inEachMode(t, func(t *testing.T, s *proctree.Supervisor) {
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for j := range 4 {
					code := 1 + i*4 + j
					if j%2 == 0 {
						p, err := s.Start(part("block"))
						if err != nil {
							t.Error(err)
							return
						}
						_ = p.Kill()
						if exit := p.Wait(); exit.Signal != "SIGKILL" {
							t.Errorf("kill: %+v", exit)
						}
						continue
					}
					spec := part("exit", strconv.Itoa(code))
					spec.Stdin = []byte("ignored")
					p, err := s.Start(spec)
					if err != nil {
						t.Error(err)
						return
					}
					if exit := p.Wait(); exit.Code != code {
						t.Errorf("exit %d: %+v", code, exit)
					}
				}
			})
		}
		group.Wait()
	})
}

// BenchmarkStart measures from Start to Done of a child that ends at once; "start" is the part until Start returns.
func BenchmarkStart(b *testing.B) {
	for _, c := range containments() {
		b.Run(c.name, func(b *testing.B) {
			s, err := proctree.New(proctree.Options{Mode: c.mode})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			var starting time.Duration
			for b.Loop() {
				begin := time.Now()
				p, err := s.Start(proctree.Spec{Path: "/bin/true"})
				if err != nil {
					b.Fatal(err)
				}
				starting += time.Since(begin)
				p.Wait()
			}
			b.ReportMetric(float64(starting.Microseconds())/float64(b.N), "µs-start/op")
		})
	}
}
