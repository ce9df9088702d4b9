package proctree_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telecodex.dev/services/orchestrator/internal/proctree"
)

// helperArg as the first argument makes the test binary play the part named by the second.
const helperArg = "proctree-helper"

func TestMain(m *testing.M) {
	proctree.Main()
	if len(os.Args) > 2 && os.Args[1] == helperArg {
		syscall.Exit(playing(os.Args[2])(os.Args[3:])) // without the race detector's second of waiting
	}
	goleak.VerifyTestMain(m)
}

// part makes a Spec of the test binary playing one part.
func part(name string, args ...string) proctree.Spec {
	return proctree.Spec{Path: self(), Args: append([]string{helperArg, name}, args...)}
}

func playing(name string) func(args []string) int {
	for _, known := range []map[string]func([]string) int{parts, unixParts, linuxParts} {
		if play, ok := known[name]; ok {
			return play
		}
	}
	panic("no part " + name)
}

var parts = map[string]func(args []string) int{
	"exit": func(args []string) int {
		code, _ := strconv.Atoi(args[0])
		return code
	},
	// cat copies standard input until its end.
	"cat": func([]string) int {
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return 1
		}
		return 0
	},
	"environment": func([]string) int { return printJSON(os.Environ()) },
	"arguments":   func(args []string) int { return printJSON(args) },
	"directory": func([]string) int {
		dir, _ := os.Getwd()
		return printJSON(dir)
	},
	// spew writes that many bytes to standard error, then a last line.
	"spew": func(args []string) int {
		size, _ := strconv.Atoi(args[0])
		fmt.Fprint(os.Stderr, strings.Repeat("x", size), "\nthe end\n")
		return 0
	},
	// block does nothing but die of what kills by default.
	"block": func([]string) int {
		fmt.Println("ready")
		<-time.After(time.Hour)
		return 0
	},
	// graceful ends by itself when interrupted.
	"graceful": func([]string) int {
		interrupts := make(chan os.Signal, 1)
		signal.Notify(interrupts, os.Interrupt)
		fmt.Println("ready")
		<-interrupts
		return 7
	},
	// mute closes standard output and stays.
	"mute": func([]string) int {
		_ = os.Stdout.Close()
		<-time.After(time.Hour)
		return 0
	},
	// glance prints what it finds at paths: a directory's names, a file's content, or nil where there is nothing.
	"glance": func(paths []string) int {
		found := make(map[string][]string)
		for _, path := range paths {
			if entries, err := os.ReadDir(path); err == nil {
				found[path] = []string{}
				for _, entry := range entries {
					found[path] = append(found[path], entry.Name())
				}
			} else if content, err := os.ReadFile(path); err == nil {
				found[path] = []string{string(content)}
			} else {
				found[path] = nil
			}
		}
		return printJSON(found)
	},
}

func printJSON(v any) int {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		return 1
	}
	return 0
}

// open makes a Supervisor that is closed with the test.
func open(t *testing.T, opts proctree.Options) *proctree.Supervisor {
	t.Helper()
	s, err := proctree.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start(t *testing.T, s *proctree.Supervisor, spec proctree.Spec) *proctree.Process {
	t.Helper()
	p, err := s.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run starts a child and returns its output and how it ended.
func run(t *testing.T, s *proctree.Supervisor, spec proctree.Spec) ([]byte, proctree.Exit) {
	t.Helper()
	p := start(t, s, spec)
	out, err := io.ReadAll(p.Stdout())
	if err != nil {
		t.Fatal(err)
	}
	return out, p.Wait()
}

// result runs a child that prints JSON.
func result[T any](t *testing.T, s *proctree.Supervisor, spec proctree.Spec) (v T) {
	t.Helper()
	out, exit := run(t, s, spec)
	if exit.Code != 0 {
		t.Fatalf("exit %+v, stderr %q", exit, exit.StderrTail)
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	return v
}

// ready waits for a child's first line.
func ready(t *testing.T, p *proctree.Process) {
	t.Helper()
	line := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(p.Stdout(), line); err != nil || string(line) != "ready\n" {
		t.Fatalf("got %q, %v", line, err)
	}
}

// self is a path of the test binary.
func self() string {
	path, err := os.Executable()
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil && runtime.GOOS == "linux" {
		return ownExecutable
	}
	if err != nil {
		panic(err)
	}
	return path
}

// ownExecutable is a path that on Linux also a user can execute who may not enter the directory it is in; but to a shim it means the
// shim's own program.
const ownExecutable = "/proc/self/exe"
