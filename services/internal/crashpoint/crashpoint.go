// Package crashpoint names the moments right after (or right before) a commit at
// which the death of a process is hardest to survive, so that tests can kill it
// exactly there. The programs call Here as they pass such a moment. Only a build
// with the tag crash does anything then; in every other one Here is empty, and
// neither it nor the names are part of the program. Two settings that nobody but
// such a test needs are of the same kind.
package crashpoint

// Point is such a moment.
type Point string

// The gateway's points, in the order of an update's way.
const (
	Fetched      Point = "gateway.fetched"      // getUpdates has answered, nothing is stored
	Ingested     Point = "gateway.ingested"     // updates and cursor are committed, Telegram does not know
	Assigned     Point = "gateway.assigned"     // ASSIGNED is committed, RunTurn is not called
	Joined       Point = "gateway.joined"       // the worker has accepted, ACCEPTED is not committed
	Accepted     Point = "gateway.accepted"     // ACCEPTED is committed
	Named        Point = "gateway.named"        // the thread id is committed, in mid-stream
	Finishing    Point = "gateway.finishing"    // the finished event is here, FINISHED is not committed
	Settled      Point = "gateway.settled"      // the end of a turn and its messages are committed
	Acknowledged Point = "gateway.acknowledged" // the worker may forget the events, that is not stored
	Sending      Point = "gateway.sending"      // a message is marked as being sent, Telegram is not called
	Answered     Point = "gateway.answered"     // Telegram has answered a send, that is not stored
	Sent         Point = "gateway.sent"         // a message is marked as sent
	Doubted      Point = "gateway.doubted"      // messages in doubt are put back at the start
	Commanded    Point = "gateway.commanded"    // the answer to a command is committed
	Resolved     Point = "gateway.resolved"     // the decision about an interrupted turn is committed
)

// The worker's points, in the order of a turn's way.
const (
	Reserved   Point = "worker.reserved"   // a turn has its slot, its row is not committed
	Journaled  Point = "worker.journaled"  // the row is committed, Codex is not started
	Spawned    Point = "worker.spawned"    // Codex runs, that is not committed
	Appended   Point = "worker.appended"   // events are committed, nobody was shown them
	Reaped     Point = "worker.reaped"     // Codex is gone, the finished event is not committed
	Finished   Point = "worker.finished"   // the finished event is committed, nobody was shown it
	Forgotten  Point = "worker.forgotten"  // an acknowledgement is committed, the gateway does not know
	Recovering Point = "worker.recovering" // a turn of an earlier process is ended at the start
)

// Gateway returns the points of the gateway.
func Gateway() []Point {
	return []Point{Fetched, Ingested, Assigned, Joined, Accepted, Named, Finishing, Settled, Acknowledged, Sending,
		Answered, Sent, Doubted, Commanded, Resolved}
}

// Worker returns the points of the worker.
func Worker() []Point {
	return []Point{Reserved, Journaled, Spawned, Appended, Reaped, Finished, Forgotten, Recovering}
}

// What a process with the tag reads from its environment, once, and what it
// writes to standard error before it kills itself.
const (
	// AtVariable names the point to die at; empty: none.
	AtVariable = "CRASHPOINT"
	// HitVariable is at which passing of it, counted from 1, which is the default.
	HitVariable = "CRASHPOINT_HIT"
	// LeaseVariable is how long a gateway bears with a silent one that holds its
	// bot, as time.ParseDuration takes it; see LeaseTTL.
	LeaseVariable = "CRASHPOINT_LEASE_TTL"
	// ContainmentVariable is how a worker contains its turns: namespace, cgroup or
	// scan; see Containment.
	ContainmentVariable = "CRASHPOINT_CONTAINMENT"
	// Marker begins the line that says so, followed by the point.
	Marker = "crashpoint: "
)
