// Package lane decides what happens to the turns of one session, one after the
// other: which call is made, which commit comes first, and what a failure means.
// It is a pure function, (state, input) → (state, effects), so that every crash
// and every order of events can be simulated; the program around it carries out
// the effects and reports back what came of them.
//
// The rules it keeps: ASSIGNED is committed before a worker is called, and the
// turn then belongs to that worker for good unless the worker said that it
// journaled nothing. Once ACCEPTED is committed, turns are only watched. After a
// failed commit the lane reads the store again, exactly as after a crash: the
// store is the truth, the state here is not. What waited when a turn was
// interrupted is held back until the person has decided about it, has written
// again, or has let the time pass. What may be at a worker that is lost is
// interrupted, never placed elsewhere: the worker may come back and have run it.
package lane

// Phase is where a lane stands with its head, the session's oldest unsettled
// turn.
type Phase uint8

// The phases. Each but Idle, Following, Holding and Left has one effect under way (or
// about to start, when State.Waiting).
const (
	Idle        Phase = iota // no head; a Wake starts it
	Loading                  // reading the head from the store
	Placing                  // head QUEUED: looking for a worker
	Assigning                // committing ASSIGNED
	Calling                  // head ASSIGNED: RunTurn
	Probing                  // head ASSIGNED, outcome of RunTurn unknown: WatchTurn
	Accepting                // committing ACCEPTED
	Attaching                // head ACCEPTED: WatchTurn
	Following                // head ACCEPTED: events arrive
	Naming                   // committing the thread id
	Unassigning              // committing QUEUED again
	Settling                 // committing State.Ending
	Holding                  // what waits is held back by an interrupted turn
	Parking                  // committing that it is held back no more
	Left                     // the lane does nothing more in this process
)

// State is all a lane remembers. Its zero value is an idle lane.
type State struct {
	Phase Phase
	// Waiting: a pause runs before the phase's effect starts (again).
	Waiting bool
	// Held: a worker holds the session's thread, so no other will do.
	Held bool
	// Doubt: a RunTurn may have reached the worker without our knowing; no other
	// worker will do until this one said otherwise.
	Doubt bool
	// Cancelled: the person asked to stop the head.
	Cancelled bool
	// Ending is the commit of the phase Settling.
	Ending Effect
}

// Stored is what the store says about the head of a lane.
type Stored uint8

// What Head.Stored can be.
const (
	Nothing   Stored = iota // the lane is empty
	NewChat                 // a wish for a new thread, in the order of the lane
	NewPrompt               // the same, with a prompt for it
	Queued                  // a turn that no worker was asked to run
	Assigned                // a turn that a worker may have been asked to run
	Accepted                // a turn that stands in a worker's journal
)

// Head is what the store says about a lane.
type Head struct {
	Stored    Stored
	Held      bool // the session is pinned to a worker
	Cancelled bool // a person asked to stop the head, and was not answered yet
	// HeldBack: the person has not decided yet about a turn that was interrupted
	// while the head waited. Lapsed: and has had long enough.
	HeldBack, Lapsed bool
}

// Action is what a failed call means, taken from the reason the worker gave.
type Action uint8

// The actions, as gateway_action of the contract's reasons has them.
const (
	Unknown           Action = iota // no reason: the call may have been carried out
	Fail                            // the turn is refused for good
	Alarm                           // the same, and it should never happen; another turn's id if no call was made before
	Wait                            // nothing was journaled; same call, same worker, later
	WaitOrPlace                     // nothing was journaled; another worker may do
	InterruptAndUnpin               // the worker's disk was replaced
	RunOrInterrupt                  // the journal does not know the turn
	Lost                            // no call was made: the worker has been away for so long that others are to have its work
)

// Outcome is how a turn ended at its worker.
type Outcome uint8

// The outcomes.
const (
	Ended        Outcome = iota // succeeded, failed or cancelled
	Interrupted                 // the worker lost it; it may have partly run
	NotResumable                // its thread is gone; nothing was run
	NotStarted                  // Codex could not be started, and is to be tried again
)

// Kind names an input.
type Kind uint8

// The inputs. Stream inputs (Joined and after) arrive only while a call is open.
const (
	Wake         Kind = iota // the session may have work
	Loaded                   // Load came back with Input.Head
	Placed                   // Place found a worker
	Unplaced                 // Place found none
	Committed                // the commit under way succeeded
	CommitFailed             // it failed, or nobody knows
	Elapsed                  // the pause is over
	Joined                   // the call's `accepted` arrived
	Named                    // thread_started with an id that is not stored yet
	Finished                 // the finished event, with Input.Outcome
	Failed                   // the call ended without it, with Input.Action
	Gap                      // a sequence number was skipped
	Lapse                    // what is held back has waited for long enough
	Cancel                   // the person asks to stop the head
	Overdue                  // no worker was reached for long
	GiveUp                   // what cannot be done now is to be left for later
	Stop                     // the program ends, or lost its lease
)

// Input is something that happened.
type Input struct {
	Kind    Kind
	Head    Head    // of Loaded
	Action  Action  // of Failed
	Outcome Outcome // of Finished
}

// Effect is something to be done. Commits answer with Committed or CommitFailed.
type Effect uint8

// The effects.
const (
	None            Effect = iota
	Load                   // read the head: Loaded
	Place                  // choose a worker: Placed or Unplaced
	Assign                 // commit ASSIGNED to the chosen worker
	Run                    // call RunTurn at the assigned worker
	Watch                  // call WatchTurn there
	Accept                 // commit ACCEPTED
	Name                   // commit the thread id
	Unassign               // commit QUEUED again
	Finish                 // commit FINISHED and the answer
	FinishRefused          // commit FINISHED: the worker refused the turn
	FinishAbsent           // the same, and it has nothing of it: what may have its id is another turn
	FinishCancelled        // commit FINISHED: stopped before it was run
	Interrupt              // commit INTERRUPTED
	InterruptUnpin         // commit INTERRUPTED, and free the session of its worker
	Restart                // commit a new attempt in a new thread
	Postpone               // commit a new attempt, for later
	Renumber               // commit a new attempt: this one's id is another turn's
	Park                   // commit that interrupted turns hold the lane back no more
	Renew                  // commit that the head is a prompt in a new thread
	SettleNew              // commit the wish for a new thread
	Acknowledge            // tell the worker that the outcome is stored
	CancelTurn             // ask the worker to stop the turn
	Hold                   // Lapse, once what is held back has waited for long enough
	Pause                  // wait, then Elapsed; longer each time without progress
	Close                  // close the open call, if any; it never stops a turn
	Report                 // say that what is in the lane has to wait
	RaiseAlarm             // say that something happened that never should
	Leave                  // the lane is done in this process
)
