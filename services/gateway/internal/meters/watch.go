package meters

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/gateway/internal/workers"
	"telecodex.dev/services/internal/metrics"
)

// Now is what is to be seen of a gateway at one moment.
type Now struct {
	Kept     int           // damaged stores that nobody has removed
	Held     *Lease        // nil: another gateway has the bot, or nobody yet
	Survey   *store.Survey // nil: the store cannot be read
	LastPoll time.Time     // that succeeded; zero: none has
	// What is held in memory.
	Lanes, Sessions, Chats int
	Workers                []workers.Worker
	Restarts               int // of workers that were ever met
}

// Lease is the gateway's hold on its bot.
type Lease struct {
	Epoch    int64
	Silent   time.Duration // since it was last certain
	TookOver bool          // from a gateway that had not released it
}

// gauges are the families that are read at each scrape.
type gauges struct {
	accepted, updates, turns, oldest         metrics.Family
	outbox, unsent                           metrics.Family
	held, epoch, silent, takeovers, kept     metrics.Family
	polled, workers, slots, restarts, memory metrics.Family
}

// TLS shows until when the gateway's own certificates are valid, of the operator's
// API and as a client of workers, and how many handshakes the API has refused, read
// at each scrape.
func (m *Meter) TLS(server, client func() time.Time, refused func() int64) {
	m.set.Handshakes(refused)
	m.set.Certificates(map[string]func() time.Time{"server": server, "client": client})
}

// Watch reads the rest at each scrape.
func (m *Meter) Watch(read func() Now) {
	set := m.set
	g := gauges{
		accepted:  set.Total("updates_accepted_total", "Updates that were ever stored for the bot, by any process."),
		updates:   set.Gauge("updates", "What has become of all of them; their sum is updates_accepted_total.", of("state", "answered", "dropped", "interrupted", "pending")),
		turns:     set.Gauge("turns", "Turns that wait in their lanes, run, or wait for a person's decision.", of("state", "queued", "running", "interrupted")),
		oldest:    set.Gauge("queue_oldest_age_seconds", "How long ago the oldest message was received whose turn has not ended; 0: there is none."),
		outbox:    set.Gauge("outbox_messages", "Messages that wait to be sent."),
		unsent:    set.Gauge("outbox_oldest_age_seconds", "How long the oldest of them waits; 0: there is none."),
		held:      set.Gauge("lease_held", "1: this gateway has the bot; 0: it stands by, or has only begun."),
		epoch:     set.Gauge("lease_epoch", "Number of the lease: it grows with every change of the gateway that has the bot."),
		silent:    set.Gauge("lease_age_seconds", "How long ago the lease was last confirmed."),
		takeovers: set.Total("lease_takeovers_total", "Bots taken from a gateway that had not released them."),
		kept:      set.Gauge("store_damaged_copies", "Damaged files of the store that were kept when it was mended, and that nobody has removed yet."),
		polled:    set.Gauge("last_poll_timestamp_seconds", "When getUpdates last succeeded, in seconds since 1970; 0: not yet."),
		workers:   set.Gauge("workers", "Known workers: ready, draining, or out of reach.", of("state", "ready", "draining", "unreachable")),
		slots:     set.Gauge("worker_slots", "Slots of the workers that can be reached.", of("state", "free", "used")),
		restarts:  set.Total("worker_restarts_total", "Restarts of workers that were ever met, in all processes of the gateway."),
		memory:    set.Gauge("memory_entries", "What is held in memory of conversations.", of("kind", "lanes", "sessions", "chats")),
	}
	set.MustRegister(metrics.Collect(func(out chan<- prometheus.Metric) { g.collect(out, read()) }))
}

func (g gauges) collect(out chan<- prometheus.Metric, now Now) {
	g.kept.Is(out, float64(now.Kept))
	g.lease(out, now.Held)
	if now.Held == nil {
		return
	}
	if now.Survey != nil {
		g.survey(out, *now.Survey)
	}
	polled := 0.0
	if !now.LastPoll.IsZero() {
		polled = float64(now.LastPoll.UnixMilli()) / 1000
	}
	g.polled.Is(out, polled)
	g.memory.Is(out, float64(now.Lanes), "lanes")
	g.memory.Is(out, float64(now.Sessions), "sessions")
	g.memory.Is(out, float64(now.Chats), "chats")
	g.directory(out, now.Workers)
	g.restarts.Is(out, float64(now.Restarts))
}

func (g gauges) lease(out chan<- prometheus.Metric, held *Lease) {
	if held == nil {
		g.held.Is(out, 0)
		g.takeovers.Is(out, 0)
		return
	}
	g.held.Is(out, 1)
	g.epoch.Is(out, float64(held.Epoch))
	g.silent.Is(out, held.Silent.Seconds())
	took := 0.0
	if held.TookOver {
		took = 1
	}
	g.takeovers.Is(out, took)
}

// survey shows the store, as of one moment.
func (g gauges) survey(out chan<- prometheus.Metric, v store.Survey) {
	g.accepted.Is(out, float64(v.Tally.Accepted))
	g.updates.Is(out, float64(v.Tally.Answered), "answered")
	g.updates.Is(out, float64(v.Tally.Dropped), "dropped")
	g.updates.Is(out, float64(v.Tally.Interrupted), "interrupted")
	g.updates.Is(out, float64(v.Tally.Pending), "pending")
	g.turns.Is(out, float64(v.Queued), "queued")
	g.turns.Is(out, float64(v.Running), "running")
	g.turns.Is(out, float64(v.Interrupted), "interrupted")
	g.oldest.Is(out, v.OldestQueued.Seconds())
	g.outbox.Is(out, float64(v.Outbox))
	g.unsent.Is(out, v.OldestUnsent.Seconds())
}

// directory shows the workers without their names: those come and go.
func (g gauges) directory(out chan<- prometheus.Metric, all []workers.Worker) {
	var ready, draining, unreachable, free, used int
	for _, w := range all {
		switch {
		case !w.Reachable:
			unreachable++
			continue
		case w.Draining:
			draining++
		default:
			ready++
			free += max(0, w.SlotsTotal-w.SlotsUsed)
		}
		used += w.SlotsUsed
	}
	g.workers.Is(out, float64(ready), "ready")
	g.workers.Is(out, float64(draining), "draining")
	g.workers.Is(out, float64(unreachable), "unreachable")
	g.slots.Is(out, float64(free), "free")
	g.slots.Is(out, float64(used), "used")
}
