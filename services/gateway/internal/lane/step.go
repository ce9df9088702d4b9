package lane

// Step is the whole machine. Inputs that mean nothing in a state leave it as it
// is.
func Step(s State, in Input) (State, []Effect) {
	if s.Phase == Left {
		return s, nil
	}
	switch in.Kind {
	case Stop:
		return State{Phase: Left}, []Effect{Close, Leave}
	case CommitFailed:
		return reload(s)
	case Elapsed:
		if !s.Waiting {
			return s, nil
		}
		return enter(s, s.Phase)
	case Cancel:
		return s.cancel()
	case Overdue, GiveUp:
		return s.unreachable(in.Kind)
	}
	if s.Waiting {
		return s, nil
	}
	switch s.Phase {
	case Idle:
		if in.Kind == Wake {
			return enter(State{}, Loading)
		}
	case Loading:
		if in.Kind == Loaded {
			return loaded(in.Head)
		}
	case Placing:
		switch in.Kind {
		case Placed:
			return enter(s, Assigning)
		case Unplaced:
			return pause(s, Placing)
		}
	case Assigning, Accepting, Naming, Unassigning, Settling, Parking:
		if in.Kind == Committed {
			return s.committed()
		}
	case Holding:
		switch in.Kind {
		case Wake: // a decision, or another message
			return enter(State{}, Loading)
		case Lapse:
			return enter(State{}, Parking)
		}
	case Calling, Probing:
		return s.unaccepted(in)
	case Attaching, Following:
		return s.accepted(in)
	}
	return s, nil
}

// effect is what a phase does when it is entered.
func (s State) effect() Effect {
	switch s.Phase {
	case Loading:
		return Load
	case Placing:
		return Place
	case Assigning:
		return Assign
	case Calling:
		return Run
	case Probing, Attaching:
		return Watch
	case Accepting:
		return Accept
	case Naming:
		return Name
	case Unassigning:
		return Unassign
	case Parking:
		return Park
	case Settling:
		return s.Ending
	}
	return None
}

func enter(s State, phase Phase, before ...Effect) (State, []Effect) {
	s.Phase, s.Waiting = phase, false
	if effect := s.effect(); effect != None {
		before = append(before, effect)
	}
	return s, before
}

func pause(s State, phase Phase, before ...Effect) (State, []Effect) {
	s.Phase, s.Waiting = phase, true
	return s, append(before, Pause)
}

func settle(s State, ending Effect, before ...Effect) (State, []Effect) {
	s.Ending = ending
	return enter(s, Settling, before...)
}

// committing says whether a phase waits for a commit.
func (p Phase) committing() bool {
	switch p {
	case Assigning, Accepting, Naming, Unassigning, Settling, Parking:
		return true
	}
	return false
}

// reload goes back to the store, which alone knows whether a failed commit
// happened.
func reload(s State) (State, []Effect) {
	if s.Phase != Loading && !s.Phase.committing() || s.Waiting {
		return s, nil
	}
	return pause(State{}, Loading, Close)
}

// loaded is how a lane goes on, from the store alone: after a settled turn and
// after a crash alike.
func loaded(h Head) (State, []Effect) {
	s := State{Held: h.Held, Cancelled: h.Cancelled}
	var first []Effect
	if h.Cancelled {
		first = []Effect{CancelTurn}
	}
	switch waits := h.Stored == NewChat || h.Stored == NewPrompt || h.Stored == Queued && !h.Cancelled; {
	case waits && h.HeldBack && h.Lapsed:
		return enter(State{}, Parking)
	case waits && h.HeldBack:
		return State{Phase: Holding}, []Effect{Report, Hold}
	}
	switch h.Stored {
	case NewChat:
		return settle(State{}, SettleNew)
	case NewPrompt:
		return settle(State{}, Renew)
	case Queued:
		if h.Cancelled {
			return settle(s, FinishCancelled)
		}
		return enter(s, Placing)
	case Assigned:
		// RunTurn may have been sent before the crash: the same call to the
		// same worker starts or attaches, and no other worker will do.
		s.Doubt = true
		return enter(s, Calling, first...)
	case Accepted:
		return enter(s, Attaching, first...)
	}
	return State{}, nil
}

func (s State) committed() (State, []Effect) {
	switch s.Phase {
	case Assigning:
		if s.Cancelled { // the worker was not called yet
			return settle(s, FinishCancelled)
		}
		return enter(s, Calling)
	case Accepting, Naming:
		s.Phase, s.Doubt = Following, false
		return s, nil
	case Unassigning:
		if s.Cancelled {
			return settle(s, FinishCancelled)
		}
		return pause(s, Placing)
	case Parking:
		return enter(State{}, Loading)
	}
	switch s.Ending {
	case SettleNew, Renew, Renumber, FinishAbsent:
		return enter(State{}, Loading)
	case Postpone:
		return pause(State{}, Loading, Acknowledge, Report)
	}
	return enter(State{}, Loading, Acknowledge)
}

// unaccepted handles what a call says about a turn that is not known to stand
// in the worker's journal.
func (s State) unaccepted(in Input) (State, []Effect) {
	switch in.Kind {
	case Joined:
		return enter(s, Accepting)
	case Named, Finished, Gap: // an event before `accepted`
		s.Doubt = true
		return pause(s, Probing, Close, RaiseAlarm)
	case Failed:
		return s.refused(in.Action)
	}
	return s, nil
}

func (s State) refused(action Action) (State, []Effect) {
	nothingSent := s.Phase == Calling && !s.Doubt
	switch action {
	case Fail:
		if nothingSent {
			return settle(s, FinishAbsent, Close)
		}
		return settle(s, FinishRefused, Close)
	case Alarm: // what has the id is not the head
		if nothingSent {
			return settle(s, Renumber, Close, RaiseAlarm)
		}
		return settle(s, FinishAbsent, Close, RaiseAlarm)
	case InterruptAndUnpin:
		return settle(s, InterruptUnpin, Close)
	case RunOrInterrupt:
		if s.Phase == Probing {
			return enter(s, Calling, Close)
		}
		return pause(s, Calling, Close)
	case Wait, WaitOrPlace:
		switch {
		case nothingSent && s.Cancelled:
			return settle(s, FinishCancelled, Close)
		case nothingSent && action == WaitOrPlace: // a session with a thread keeps its worker
			return enter(s, Unassigning, Close)
		}
		return pause(s, s.Phase, Close)
	case Lost:
		switch {
		case nothingSent && s.Cancelled:
			return settle(s, FinishCancelled, Close)
		case nothingSent:
			return enter(s, Unassigning, Close)
		}
		return settle(s, Interrupt, Close)
	}
	s.Doubt = true
	return pause(s, Probing, Close)
}

// accepted handles what a call says about a turn that stands in a journal.
func (s State) accepted(in Input) (State, []Effect) {
	following := s.Phase == Following
	switch in.Kind {
	case Joined:
		if !following {
			s.Phase = Following
			return s, nil
		}
	case Named:
		if following {
			return enter(s, Naming)
		}
	case Finished:
		if following {
			return settle(s, endings[in.Outcome], Close)
		}
	case Gap:
		return pause(s, Attaching, Close, RaiseAlarm)
	case Failed:
		switch in.Action {
		case Fail:
			return settle(s, FinishRefused, Close)
		case Alarm:
			return settle(s, FinishAbsent, Close, RaiseAlarm)
		case InterruptAndUnpin:
			return settle(s, InterruptUnpin, Close)
		case RunOrInterrupt, Lost:
			return settle(s, Interrupt, Close)
		}
		return pause(s, Attaching, Close)
	}
	return s, nil
}

var endings = [...]Effect{Ended: Finish, Interrupted: Interrupt, NotResumable: Restart, NotStarted: Postpone}

// cancel stops the head. What no worker was asked to run ends here; else the
// worker is asked, and the outcome arrives on the stream.
func (s State) cancel() (State, []Effect) {
	switch s.Phase {
	case Loading:
		if s.Waiting { // the head may be one that was postponed
			return enter(State{}, Loading)
		}
	case Holding: // the head may be the one
		return enter(State{}, Loading)
	case Placing:
		return settle(s, FinishCancelled)
	case Assigning, Unassigning:
		s.Cancelled = true
	case Calling, Probing, Accepting, Attaching, Following, Naming:
		if !s.Cancelled {
			s.Cancelled = true
			return s, []Effect{CancelTurn}
		}
	}
	return s, nil
}

// unreachable handles the end of patience with a worker that does not answer:
// it is said, and where the program is about to end the turn is left in the store
// for the next one.
func (s State) unreachable(kind Kind) (State, []Effect) {
	switch s.Phase {
	case Placing, Calling, Probing, Attaching:
	case Loading, Holding: // the head is not known, or was reported before
		if kind == GiveUp {
			return State{Phase: Left}, []Effect{Leave}
		}
		return s, nil
	default:
		return s, nil
	}
	if kind == GiveUp {
		return State{Phase: Left}, []Effect{Report, Close, Leave}
	}
	return s, []Effect{Report}
}
