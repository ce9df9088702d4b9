package chaos

import (
	"math/rand/v2"
	"time"

	"telecodex.dev/services/internal/crashpoint"
)

// Life is how one process of a service is to die.
type Life struct {
	// At is the point at which it kills itself, at the Hit-th passing; empty: it
	// is killed from outside.
	At  crashpoint.Point
	Hit int
	// Within is how long it may live, from when its turn has come: then it is
	// killed wherever it is.
	Within time.Duration
	// Early: from its start, though it may only stand by.
	Early bool
	// Freeze stops it for so long before that, and lets it go on. A gateway that
	// stands by may take its place.
	Freeze time.Duration
	// Wipe empties the disk of a worker before its next life; Keep leaves its id
	// on it.
	Wipe, Keep bool
	// Together kills the workers too, when a gateway dies, Lag later.
	Together bool
	Lag      time.Duration
	// Pause is how long the service stays dead.
	Pause time.Duration
}

// Lives are the lives of one service, one after the other, without an end.
type Lives func() Life

// Streams of random numbers, so that one service's lives do not depend on how
// many another one has had.
const (
	streamPeople   uint64 = 0
	streamGateways uint64 = 1 << 8  // and one for each gateway after it
	streamWorkers  uint64 = 1 << 16 // and one for each worker after it
)

func random(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// GatewayLives has a gateway die at every point, in an ever new order, and at any
// other time as well; in each round one is frozen.
func GatewayLives(seed uint64, gateway int, freeze time.Duration) Lives {
	r := random(seed, streamGateways+uint64(gateway))
	return rounds(r, func() []Life {
		var all []Life
		for _, p := range crashpoint.Gateway() {
			all = append(all, Life{At: p, Hit: passing(r, p, 4), Within: between(r, 3*time.Second, 6*time.Second), Together: r.IntN(10) == 0})
		}
		for range 4 {
			all = append(all, Life{Within: between(r, 50*time.Millisecond, 2*time.Second), Early: r.IntN(4) == 0, Together: r.IntN(4) == 0})
		}
		return append(all, Life{Within: between(r, 500*time.Millisecond, time.Second), Freeze: freeze})
	}, 100*time.Millisecond)
}

// WorkerLives does the same with a worker, whose disk is replaced now and then.
func WorkerLives(seed uint64, worker int) Lives {
	r := random(seed, streamWorkers+uint64(worker))
	return rounds(r, func() []Life {
		var all []Life
		for _, p := range crashpoint.Worker() {
			all = append(all, Life{At: p, Hit: passing(r, p, 6), Within: between(r, 2*time.Second, 5*time.Second)})
		}
		for range 3 {
			all = append(all, Life{Within: between(r, 100*time.Millisecond, 4*time.Second)})
		}
		unlucky := &all[r.IntN(len(all))]
		unlucky.Wipe, unlucky.Keep = true, r.IntN(2) == 0
		return all
	}, 500*time.Millisecond)
}

// rounds deals rounds of lives, each shuffled.
func rounds(r *rand.Rand, round func() []Life, pause time.Duration) Lives {
	var left []Life
	return func() Life {
		if len(left) == 0 {
			left = round()
			r.Shuffle(len(left), func(i, k int) { left[i], left[k] = left[k], left[i] })
		}
		next := left[0]
		left = left[1:]
		next.Pause, next.Lag = between(r, 0, pause), between(r, 0, 150*time.Millisecond)
		return next
	}
}

// passing is at which passing of a point a process dies. Some are passed once, or
// seldom.
func passing(r *rand.Rand, p crashpoint.Point, most int) int {
	switch p {
	case crashpoint.Doubted, crashpoint.Recovering, crashpoint.Named, crashpoint.Resolved, crashpoint.Commanded:
		return 1
	}
	return 1 + r.IntN(most)
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}
