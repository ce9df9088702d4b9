package render

import (
	"fmt"
	"strings"
	"time"

	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

const (
	timedOut  = "Sorry, the request timed out. Please try again."
	wentWrong = "Sorry, something went wrong. Please try again."

	emptyAnswer = "Codex finished, and gave no answer in words."

	whatToDo = "/resume - let Codex look at what was done and finish it\n" +
		"/again - run it again from its beginning\n" +
		"/drop - leave it"
)

// Error codes of turns that have a text of their own.
const (
	CodeTimeout       = "codex-timeout"            // a limit ended it
	CodeInvalidAnswer = "codex-invalid-response"   // Codex answered in another thread
	CodeContract      = "codex-contract-violation" // the worker refused it
)

// explanation says what happened, what was kept and what to do.
type explanation struct{ happened, kept, todo string }

const keptConversation = "This conversation, and what was done before, is kept."

// explain returns false for a class that says nothing.
func explain(class orchestratorv1.FailureClass) (explanation, bool) {
	const again = "then send your message again."
	switch class {
	case orchestratorv1.FailureClass_FAILURE_CLASS_AUTHENTICATION:
		return explanation{"Codex is not logged in: its provider refused the credentials.", keptConversation,
			"Ask whoever runs this bot to log Codex in, " + again}, true
	case orchestratorv1.FailureClass_FAILURE_CLASS_USAGE_LIMIT:
		return explanation{"The usage limit of the Codex account is reached.", keptConversation,
			"Wait until the limit is renewed, or ask whoever runs this bot to raise it, " + again}, true
	case orchestratorv1.FailureClass_FAILURE_CLASS_RATE_LIMIT:
		return explanation{"Codex's provider asks for fewer requests.", keptConversation,
			"Wait a minute, " + again}, true
	case orchestratorv1.FailureClass_FAILURE_CLASS_CONTEXT_LENGTH:
		return explanation{"This conversation is longer than the model can read.", "What was done before is kept; the files stay as they are.",
			"Begin a new conversation with /new and say what is still to be done."}, true
	case orchestratorv1.FailureClass_FAILURE_CLASS_PROVIDER:
		return explanation{"Codex's provider failed or is overloaded.", keptConversation,
			"Wait a few minutes, " + again}, true
	case orchestratorv1.FailureClass_FAILURE_CLASS_NETWORK:
		return explanation{"Codex could not reach its provider.", keptConversation,
			"Wait a few minutes, " + again + " If it lasts, ask whoever runs this bot to look at the worker's network."}, true
	case orchestratorv1.FailureClass_FAILURE_CLASS_CONFIGURATION:
		return explanation{"Codex refuses its own configuration.", keptConversation,
			"Ask whoever runs this bot to correct it, " + again}, true
	case orchestratorv1.FailureClass_FAILURE_CLASS_MODEL:
		return explanation{"The model does not exist, or this account may not use it.", keptConversation,
			"Ask whoever runs this bot to choose another model, " + again}, true
	case orchestratorv1.FailureClass_FAILURE_CLASS_SANDBOX:
		return explanation{"Codex's sandbox does not work on the worker's machine.", keptConversation,
			"Ask whoever runs this bot to look at the worker, " + again}, true
	case orchestratorv1.FailureClass_FAILURE_CLASS_THREAD_IN_USE:
		return explanation{"Another Codex is using this conversation's thread.", keptConversation,
			"End the other one, " + again + " Or begin a new conversation with /new."}, true
	}
	return explanation{}, false
}

// Failure tells that a turn failed, by the code of its diagnostic. The first line
// is always one of two; where more is known, it is explained. why may be nil.
func Failure(code string, why *orchestratorv1.FinishedError) string {
	first := wentWrong
	if code == CodeTimeout {
		first = timedOut
	}
	e, known := explain(why.GetFailureClass())
	if !known {
		e, known = explainCode(code)
	}
	if !known {
		e, known = explainCause(why.GetCause())
	}
	if !known {
		return first
	}
	return e.after(first)
}

// explainCode is for what sending the message again does not mend.
func explainCode(code string) (explanation, bool) {
	switch code {
	case CodeInvalidAnswer:
		return explanation{"Codex answered in another conversation than this one.", "The files stay as they are.",
			"Begin a new conversation with /new, then send your message again."}, true
	case CodeContract:
		return explanation{"The worker refuses what this bot asks of it, and would refuse it again.", keptConversation,
			"Ask whoever runs this bot to look at its log and its settings, then send your message again."}, true
	}
	return explanation{}, false
}

// explainCause is for a failure of which no more is known than how it ended.
func explainCause(cause orchestratorv1.FinishCause) (explanation, bool) {
	const more = "Send your message again. If it lasts, ask whoever runs this bot to look at the worker."
	switch cause {
	case orchestratorv1.FinishCause_FINISH_CAUSE_SPAWN:
		return explanation{"Codex could not be started on the worker.", keptConversation,
			"Ask whoever runs this bot to look at the worker, then send your message again."}, true
	case orchestratorv1.FinishCause_FINISH_CAUSE_TIMEOUT:
		return explanation{"Codex was stopped because it took too long.", keptConversation,
			"Ask it to go on, or send a smaller task."}, true
	case orchestratorv1.FinishCause_FINISH_CAUSE_IDLE_TIMEOUT:
		return explanation{"Codex was stopped because it said nothing for too long.", keptConversation, more}, true
	case orchestratorv1.FinishCause_FINISH_CAUSE_EXIT, orchestratorv1.FinishCause_FINISH_CAUSE_IO,
		orchestratorv1.FinishCause_FINISH_CAUSE_TURN_FAILED:
		return explanation{"Codex ended before it had finished.", keptConversation, more}, true
	}
	return explanation{}, false
}

func (e explanation) after(first string) string {
	return strings.Join([]string{first, "", e.happened, e.kept, e.todo}, "\n")
}

// PromptRefused tells that Codex is not given a message, which is because of its
// length.
func PromptRefused() string {
	return explanation{"Your message is longer than what Codex is given at once, which is 1 MiB.", keptConversation,
		"Send a shorter one, or put the text into a file where Codex works and name the file."}.after(wentWrong)
}

// WorkerAway tells that a message has to wait for its worker.
func WorkerAway() string {
	return "The worker cannot be reached right now. Nothing is lost: your message is kept, and is answered once the worker is back. " +
		"There is no need to send it again."
}

// WorkerDraining tells that a message has to wait for its worker, which takes no
// new work.
func WorkerDraining() string {
	return "The worker that has this conversation is being taken out of service. Nothing is lost: your message is kept, and is answered " +
		"once the conversation has moved to another worker, or the worker is back. There is no need to send it again."
}

// NotStarted tells that a message has to wait because Codex cannot be started.
func NotStarted() string {
	return "Codex cannot be started on the worker right now. Nothing is lost: your message is kept, and is tried again by itself. " +
		"There is no need to send it again."
}

// Interrupted asks what to do with a turn whose worker went away.
// What was sent before waits for the decision for so long; 0: not at all.
func Interrupted(wait time.Duration) string {
	return asked("This task was interrupted: it may have partly run. Your message and the files are kept, and it is not run again by itself.", wait)
}

// InterruptedAway asks the same of a turn whose worker does not come back.
func InterruptedAway(wait time.Duration) string {
	return asked("This task was interrupted: its worker has not answered for long. It may have partly run there. Your message is kept, and it is "+
		"not run again by itself. What you decide is done by this worker if it is back by then, else by another one, which knows nothing of this "+
		"conversation and does not have its files.", wait)
}

// InterruptedGone asks the same of a turn whose worker has no record of it any more.
// The files may be there all the same, as where only the journal was set aside.
func InterruptedGone(wait time.Duration) string {
	return asked("This task was interrupted: it may have partly run, and the worker's record of it is gone. Your message is kept, and it is not "+
		"run again by itself. What runs next begins a new conversation: what was said earlier is not available to Codex any more, and the files "+
		"may be gone too. Repeat what Codex needs to know.", wait)
}

func asked(happened string, wait time.Duration) string {
	text := happened + "\n\n" + whatToDo
	if wait <= 0 {
		return text
	}
	return text + "\n\nWhat you sent before this message waits until you have decided, for " + span(wait) + " at most. " +
		"Another message from you lets it go on at once; you can still decide afterwards."
}

// InterruptedThen is what the question says once it is decided.
func InterruptedThen(d Decision) string {
	return "This task was interrupted: it may have partly run.\n\n" + Decided(d, false)
}

// span is a time as people say it.
func span(d time.Duration) string {
	n, unit := int((d+time.Second-1)/time.Second), "second"
	if n >= 120 {
		n, unit = (n+59)/60, "minute"
	}
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// Decision is what a person decided about an interrupted turn.
type Decision int

// The decisions.
const (
	Resume Decision = iota
	Again
	Drop
)

// Decided confirms a decision. Earlier says that it had been made before, and
// stays.
func Decided(d Decision, earlier bool) string {
	text := "It is dropped."
	switch d {
	case Resume:
		text = "Codex looks at what was done and goes on."
	case Again:
		text = "It runs again from its beginning."
	}
	if earlier {
		return "That was decided before. " + text
	}
	return text
}

// NothingInterrupted answers a decision that nothing waits for.
func NothingInterrupted() string { return "No interrupted task waits for a decision." }

// Cancelled tells that a turn was stopped because it was asked for.
func Cancelled() string {
	return "Stopped. What was done before is kept, and this conversation goes on with your next message."
}

// AlreadyEnded answers a /cancel that came too late.
func AlreadyEnded() string { return "It had ended before it could be stopped." }

// NothingRunning answers a /cancel when there is nothing to stop.
func NothingRunning() string { return "Nothing is running." }

// ThreadNotResumable tells that Codex could not go on with the conversation's
// thread, and began a new one.
func ThreadNotResumable() string {
	return "Codex could not go on with this conversation, so that a new one was started for your message. " +
		"The files are kept; what was said earlier is not available to Codex any more. Repeat what it needs to know."
}

// WorkerGone tells that the worker of a conversation is gone, and that another one
// begins anew.
func WorkerGone() string {
	return "The worker that held this conversation is gone, and its files with it, so that a new conversation was started for your message. " +
		"What was said earlier is not available to Codex any more. Repeat what it needs to know."
}

// WorkerLost tells that the worker of a conversation did not come back, and that
// another one begins anew.
func WorkerLost() string {
	return "The worker that has this conversation has not answered for long, so that a new conversation was started for your message on another one. " +
		"What was said earlier, and the files, are not available there. Repeat what Codex needs to know."
}

// NewConversation answers /new.
func NewConversation() string {
	return "Done: your next message begins a new conversation. The files are kept; Codex does not remember what was said before."
}

// Help answers /help.
func Help() string {
	return "Write to me, and Codex works on it. Every chat, and every topic, is one conversation: Codex remembers what was said in it. " +
		"Messages are worked on one after the other.\n\n" +
		"/new - begin a new conversation; what you write after it is its first message\n" +
		"/cancel - stop what is running\n" +
		"/status - what is running and what waits\n" +
		"/help - this text\n\n" +
		"After an interruption:\n" + whatToDo
}

// SessionStatus is what /status tells about a conversation.
type SessionStatus struct {
	// Running says that a turn runs, since RunningFor.
	Running    bool
	RunningFor time.Duration
	// Waiting is how many messages wait for their turn.
	Waiting int
	// Interrupted says that a turn waits for a decision.
	Interrupted bool
	// HeldFor is how long what waits waits for that decision, at most; 0: it does
	// not.
	HeldFor time.Duration
	// WorkerUnreachable says that the conversation's worker cannot be reached.
	WorkerUnreachable bool
	// WorkerDraining says that it takes no new turns.
	WorkerDraining bool
	// ThreadID is the Codex thread; empty: the next message begins one.
	ThreadID string
}

// Status answers /status.
func Status(s SessionStatus) string {
	lines := []string{NothingRunning()}
	if s.Running {
		lines[0] = fmt.Sprintf("Running for %s. /cancel stops it.", max(s.RunningFor, 0).Round(time.Second))
	}
	switch {
	case s.Waiting == 1:
		lines = append(lines, "1 message waits.")
	case s.Waiting > 1:
		lines = append(lines, fmt.Sprintf("%d messages wait.", s.Waiting))
	}
	if s.Interrupted {
		lines = append(lines, "An interrupted task waits for your decision: /resume, /again or /drop.")
	}
	if s.HeldFor > 0 && s.Waiting > 0 {
		lines = append(lines, "What waits goes on once you have decided, or with your next message, or in "+span(s.HeldFor)+".")
	}
	if s.WorkerDraining {
		lines = append(lines, "The worker is being taken out of service. Nothing is lost: what waits runs once the conversation has moved, or the worker is back.")
	}
	if s.WorkerUnreachable {
		lines = append(lines, "The worker cannot be reached right now. Nothing is lost: what waits runs when it is back.")
	}
	if s.ThreadID == "" {
		lines = append(lines, "The next message begins a new conversation.")
	} else {
		lines = append(lines, "Codex thread: "+s.ThreadID)
	}
	return strings.Join(lines, "\n")
}
