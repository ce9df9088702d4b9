package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"telecodex.dev/services/internal/bound"
	"telecodex.dev/services/internal/telegramsim"
)

// BenchmarkUpdate is how long one message takes on an idle system, from the
// moment getUpdates can answer with it to the arrival of the answer's
// sendMessage: Codex's start, an instant turn and every commit included. Twenty
// chats take turns; the first message of each begins its session. The disk's own
// fsync is measured beside it: what is promised as stored waits for it.
func BenchmarkUpdate(b *testing.B) { eachInstant(b, update) }

func update(b *testing.B, codex string) {
	const (
		chats = 20
		count = 200
		every = 100 * time.Millisecond
	)
	var took, syncs []time.Duration
	for b.Loop() {
		s := start(b, settings{chats: chats, slots: chats, scenario: "echo", codex: codex})
		pace := time.NewTicker(every)
		for i := range count {
			<-pace.C
			began := time.Now()
			s.sim.Inject(telegramsim.Incoming{ChatID: int64(i%chats + 1), Text: "hello"})
			messages := s.answered(b, i+1)
			took = append(took, messages[i].At.Sub(began))
		}
		pace.Stop()
		s.stop(b)
		syncs = append(syncs, fsyncs(b, 100)...)
	}
	b.ReportMetric(0, "ns/op")
	bound.Bound{Unit: "p50-ms", Limit: 25}.Report(b, milliseconds(percentile(took, 50)))
	b.ReportMetric(milliseconds(percentile(took, 0)), "min-ms")
	b.ReportMetric(milliseconds(percentile(took, 99)), "p99-ms")
	b.ReportMetric(milliseconds(percentile(syncs, 50)), "fsync-p50-ms")
}

// fsyncs measures the disk: a page is appended, then synced.
func fsyncs(b *testing.B, count int) (took []time.Duration) {
	file, err := os.Create(filepath.Join(b.TempDir(), "page"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	page := make([]byte, 4096)
	for range count {
		began := time.Now()
		if _, err := file.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	return took
}

// BenchmarkBurst is how long 200 messages take that 20 chats write at once, with
// turns of a second and a slot for each chat: ten turns one after the other.
func BenchmarkBurst(b *testing.B) {
	const chats, count = 20, 200
	var took time.Duration
	for b.Loop() {
		took += burst(b, settings{chats: chats, slots: chats, scenario: "turn_1s"}, count).took
	}
	b.ReportMetric(0, "ns/op")
	bound.Bound{Unit: "s", Limit: 11}.Report(b, took.Seconds()/float64(b.N))
}

// BenchmarkRate is how many messages a second are answered when turns are
// instant. The processor time of each is measured beside it, which a busy machine
// changes less: that of the worker includes Codex and what contains it.
func BenchmarkRate(b *testing.B) { eachInstant(b, rate) }

func rate(b *testing.B, codex string) {
	const chats, count = 20, 2000
	var sum spent
	for b.Loop() {
		one := burst(b, settings{chats: chats, slots: chats, scenario: "echo", codex: codex}, count)
		sum = spent{sum.took + one.took, sum.gateway + one.gateway, sum.worker + one.worker}
	}
	updates := count * float64(b.N)
	b.ReportMetric(0, "ns/op")
	bound.Bound{Unit: "updates/s", Limit: 300, Least: true}.Report(b, updates/sum.took.Seconds())
	b.ReportMetric(milliseconds(sum.gateway)/updates, "gateway-cpu-ms/update")
	b.ReportMetric(milliseconds(sum.worker)/updates, "orchestrator+codex-cpu-ms/update")
}

// spent is the time from the first message of a burst to the last answer, and
// the processor time that the processes took in all.
type spent struct{ took, gateway, worker time.Duration }

func burst(b *testing.B, with settings, count int) (t spent) {
	s := start(b, with)
	began := time.Now()
	s.say(count, "hello")
	messages := s.answered(b, count)
	t.took = messages[count-1].At.Sub(began)
	gateway, worker := s.gateway, s.worker
	s.stop(b)
	t.gateway, t.worker = gateway.CPU(), worker.CPU()
	return t
}
