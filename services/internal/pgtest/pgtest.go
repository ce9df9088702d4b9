// Package pgtest runs a real PostgreSQL for tests, from the machine's package: a
// server of the test binary's own, in a temporary directory, on a free loopback
// port, that makes every commit durable. It ends with the binary, whatever
// becomes of that.
package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"telecodex.dev/services/internal/freeport"
)

// Password is that of the server's one user over TCP. No error, log or status may
// show it.
const Password = "not:to/be@seen"

const (
	admin      = "postgres"
	startLimit = time.Minute
)

// Server is a PostgreSQL server that starts when the first test asks for it.
type Server struct {
	start func() error
	bin   string // directory of the server's programs
	dir   string // holds all of it
	port  int
	guard *guard
	mu    sync.Mutex
	made  int       // schemas
	admin *pgx.Conn // nil: not open
}

// New returns a server that runs from the first call of URL to Close. A test
// binary needs one, which its TestMain closes; a test that stops the server has
// one of its own.
func New() *Server {
	s := &Server{}
	s.start = sync.OnceValue(s.launch)
	return s
}

// URL is the address of an empty schema in the server's database, which nobody
// else uses. Where the machine has no PostgreSQL the test is skipped; on Linux,
// where it can be had, with CI=true it fails.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	var missing *missingError
	switch err := s.start(); {
	case errors.As(err, &missing) && runtime.GOOS != "linux":
		t.Skipf("not on %s: NOTHING OF POSTGRESQL IS TESTED: %v", runtime.GOOS, err)
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		t.Skip("SKIPPED, NOTHING OF POSTGRESQL IS TESTED:", err)
	case err != nil:
		t.Fatal(err)
	}
	s.mu.Lock()
	s.made++
	schema := fmt.Sprintf("test_%d", s.made)
	s.mu.Unlock()
	s.Exec(t, "CREATE SCHEMA "+schema)
	address := s.address()
	address.RawQuery += "&search_path=" + schema
	return address.String()
}

// Exec runs statements as the server's administrator.
func (s *Server) Exec(t testing.TB, statements string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.admin == nil || s.admin.Ping(ctx) != nil { // the server may have been restarted
		conn, err := pgx.Connect(ctx, s.address().String())
		if err != nil {
			t.Fatal(err)
		}
		s.admin = conn
	}
	if _, err := s.admin.Exec(ctx, statements); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) address() *url.URL {
	return &url.URL{Scheme: "postgres", User: url.UserPassword(admin, Password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path: "/postgres", RawQuery: "sslmode=disable"}
}

// Stop ends the server as its administrator would, or, at once, as a crash does.
func (s *Server) Stop(t testing.TB, crash bool) {
	t.Helper()
	mode := "fast"
	if crash {
		mode = "immediate"
	}
	if err := s.ctl("-m", mode, "stop"); err != nil {
		t.Fatal(err)
	}
}

// Start starts a server that was stopped, at the same address.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.up(); err != nil {
		t.Fatal(err)
	}
}

// Close ends the server, if it was started, and removes what it kept.
func (s *Server) Close() error {
	if s.guard == nil {
		return nil
	}
	if s.admin != nil {
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		_ = s.admin.Close(ctx) // the server may have ended it
	}
	return s.guard.end()
}

// Exit is Close at the end of a test binary, for goleak.Cleanup.
func (s *Server) Exit(code int) {
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "PostgreSQL:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

type missingError struct{ why string }

func (e *missingError) Error() string { return e.why }

// Programs is the directory of the newest server installed.
func Programs() (string, error) {
	if runtime.GOOS == "windows" {
		return "", &missingError{"the tests do not look for PostgreSQL on Windows"}
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian's place
	if err != nil || len(found) == 0 {
		return "", errors.Join(&missingError{"initdb is neither on the PATH nor in /usr/lib/postgresql/*/bin (Debian's package: postgresql)"}, err)
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(version(a), version(b)) })
	return filepath.Dir(newest), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4]) // what is no number is no version: 0
	return n
}

func (s *Server) launch() (err error) {
	if s.bin, err = Programs(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return err
	}
	if s.guard, err = watch(s); err != nil {
		return errors.Join(err, os.RemoveAll(s.dir))
	}
	password := filepath.Join(s.dir, "password")
	if err := errors.Join(os.WriteFile(password, []byte(Password), 0o600), own(s.dir, password)); err != nil {
		return err
	}
	// What initdb writes needs no flush: no test cuts the power.
	if err := s.run("initdb", "--no-sync", "--wal-segsize=1", "-D", s.data(), "-U", admin, "-A", "password", "--pwfile", password, "-E", "UTF8",
		"--locale=C.UTF-8"); err != nil {
		return err
	}
	if s.port, err = freeport.Take(); err != nil {
		return err
	}
	return s.up()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) up() error {
	return s.ctl("-l", filepath.Join(s.dir, "log"), "-o", fmt.Sprintf("-c listen_addresses=127.0.0.1 -p %d -k '' -c shared_buffers=32MB -c max_wal_size=4GB -c checkpoint_timeout=1h -c autovacuum=off", s.port), "start")
}

// ctl runs pg_ctl, which returns once the server is as it was told to be.
func (s *Server) ctl(args ...string) error {
	return s.run("pg_ctl", append([]string{"-w", "-t", "60", "-D", s.data()}, args...)...)
}

// run runs one of the server's programs. Its output goes to a file: the server
// inherits it, and who waited for the end of a pipe would wait for the server's.
func (s *Server) run(program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*startLimit)
	defer cancel()
	output, err := os.CreateTemp("", "pgtest-output")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(output.Close(), os.Remove(output.Name())) }()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir, cmd.Env = s.dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = output, output
	if err := unprivileged(cmd); err != nil {
		return err
	}
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(output.Name()) // best effort: it explains err
		logged, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return fmt.Errorf("%s: %w\n%s\n%s", program, err, said, logged)
	}
	return nil
}

// guard is a process that ends the server and removes its directory once the test
// binary closes its standard input, which it does at the latest by dying.
type guard struct {
	cmd  *exec.Cmd
	hold *os.File
}

func watch(s *Server) (*guard, error) {
	read, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", "-c", `read _; trap '' INT TERM; "$1/pg_ctl" -s -w -D "$2/data" -m immediate stop 2>/dev/null; rm -rf "$2"`,
		"guard", s.bin, s.dir)
	cmd.Dir, cmd.Stdin = "/", read
	if err := unprivileged(cmd); err != nil {
		return nil, err
	}
	err = cmd.Start()
	if err = errors.Join(err, read.Close()); err != nil {
		return nil, errors.Join(err, hold.Close())
	}
	return &guard{cmd, hold}, nil
}

func (g *guard) end() error { return errors.Join(g.hold.Close(), g.cmd.Wait()) }
