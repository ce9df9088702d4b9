package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/internal/telegramsim"
)

// The load of the soak.
const (
	soakRate  = 50 // updates a second
	soakChats = 50
	soakLooks = 5 * time.Second // between two looks
	// soakRests is longer than connections are kept that nobody uses, and than it
	// takes a service to give memory back.
	soakRests = 100 * time.Second
	// soakKept is so few that both databases are full soon: from then on they are
	// to stay as they are.
	soakKept = 2000
)

// BenchmarkSoak lets 50 people write a message a second each, whose turns are
// instant, for SOAK_SECONDS, and fails unless memory, goroutines, file descriptors
// and databases of both services stay flat. The first quarter does not count: it
// fills caches, pools and what the databases keep, for which ten minutes are enough.
func BenchmarkSoak(b *testing.B) {
	seconds, err := strconv.Atoi(os.Getenv("SOAK_SECONDS"))
	if err != nil || seconds < 60 {
		seconds = 60
	}
	for b.Loop() {
		soak(b, time.Duration(seconds)*time.Second)
	}
	b.ReportMetric(0, "ns/op")
}

func soak(b *testing.B, length time.Duration) {
	codex := filepath.Join(b.TempDir(), "codex")
	if err := os.WriteFile(codex, []byte(instant), 0o755); err != nil {
		b.Fatal(err)
	}
	s := start(b, settings{chats: soakChats, slots: 16, codex: codex, kept: soakKept})
	s.warm(b)
	figures := s.figures()
	s.say(soakChats, "hello") // what each session takes is there before
	s.answered(b, 1+soakChats)
	rest(b, soakRests)
	figures.rest(b, func(f *figure, value float64) { f.before = value })
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	began := time.Now()
	said := make(chan int)
	go func() { said <- s.chatter(ctx, began, length) }()
	look := time.NewTicker(soakLooks)
	defer look.Stop()
	count := 0
	for count == 0 {
		select {
		case count = <-said:
		case <-look.C:
			if at := time.Since(began); at >= length/4 {
				figures.look(b, at)
			}
		}
	}
	answers := s.answered(b, count+1+soakChats)
	b.ReportMetric(float64(count)/time.Since(began).Seconds(), "updates/s")
	rest(b, soakRests)
	figures.rest(b, func(f *figure, value float64) { f.after = value })
	b.Logf("%d messages in %v, each answered once, the last one %v after the end; load average %s", count, length,
		answers[len(answers)-1].At.Sub(began.Add(length)).Round(time.Millisecond), loads(b))
	var verdicts []string // in one go: of more than ten, a benchmark leaves some out
	for _, one := range figures {
		verdict, flat := one.judge()
		if verdicts = append(verdicts, verdict); !flat {
			b.Fail()
		}
	}
	fmt.Fprintln(os.Stderr, strings.Join(verdicts, "\n"))
	s.stop(b)
}

// chatter writes at the rate of the soak and returns how many messages it wrote.
func (s *system) chatter(ctx context.Context, began time.Time, length time.Duration) (count int) {
	pace := time.NewTicker(time.Second / soakRate)
	defer pace.Stop()
	for ctx.Err() == nil && time.Since(began) < length {
		for due := int(time.Since(began).Seconds() * soakRate); count < due; count++ {
			s.sim.Inject(telegramsim.Incoming{ChatID: int64(count%s.chats + 1), Text: "hello"})
		}
		<-pace.C
	}
	return count
}

// figures are what is to stay flat, and how each is read.
type figures []*figure

type figure struct {
	series
	read func(testing.TB) float64
}

func (f figures) look(b *testing.B, at time.Duration) {
	for _, one := range f {
		one.samples = append(one.samples, sample{at, one.read(b)})
	}
}

// rest reads what is judged at rest.
func (f figures) rest(b *testing.B, note func(*figure, float64)) {
	for _, one := range f {
		if one.rests {
			note(one, one.read(b))
		}
	}
}

func (s *system) figures() (all figures) {
	add := func(name, unit string, slack float64, rests bool, read func(testing.TB) float64) {
		all = append(all, &figure{series{name: name, unit: unit, slack: slack, rests: rests}, read})
	}
	for _, one := range []struct {
		name, metrics string
		pid           int
	}{{"gateway", s.metrics, s.gateway.PID()}, {"orchestrator", s.worker.Metrics, s.worker.PID()}} {
		add(one.name+" memory", "MB", 2, false, func(t testing.TB) float64 { return megabytes(rss(t, one.pid)) })
		// Go collects once the heap has grown by 4 MB: below that nothing is known.
		add(one.name+" heap", "MB", 4, true, func(t testing.TB) float64 { return gauge(t, one.metrics, "go_memstats_heap_alloc_bytes") / 1e6 })
		add(one.name+" goroutines", "", 3, true, func(t testing.TB) float64 { return gauge(t, one.metrics, "go_goroutines") })
		add(one.name+" descriptors", "", 3, true, func(t testing.TB) float64 { return float64(descriptors(t, one.pid)) })
	}
	add("gateway's store", "MB", 1, false, func(t testing.TB) float64 { return megabytes(sizeOf(t, filepath.Join(s.dir, "gateway.db*"))) })
	add("worker's journal", "MB", 1, false, func(t testing.TB) float64 {
		return megabytes(sizeOf(t, filepath.Join(s.worker.StateDir(), "private", "journal.db*")))
	})
	return all
}

// loads is how busy the machine was in the last 1, 5 and 15 minutes.
func loads(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// descriptors counts the open files of a process.
func descriptors(t testing.TB, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(process(pid, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// sizeOf is how many bytes the files are long that a pattern names; there has to be
// one.
func sizeOf(t testing.TB, pattern string) (size int) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no file (%v)", pattern, err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		size += int(info.Size())
	}
	return size
}

// gauge reads a figure from /metrics.
func gauge(t testing.TB, addr, name string) float64 {
	t.Helper()
	response, err := http.Get(fmt.Sprintf("http://%s/metrics", addr))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s does not tell %s (%v)", addr, name, lines.Err())
	return 0
}
