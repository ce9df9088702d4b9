package lane

// Names of what logs and traces show.

func (p Phase) String() string { return name(phaseNames[:], p) }

func (k Kind) String() string { return name(kindNames[:], k) }

func (e Effect) String() string { return name(effectNames[:], e) }

func (a Action) String() string { return name(actionNames[:], a) }

func name[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "?"
}

var phaseNames = [...]string{
	Idle:        "idle",
	Loading:     "loading",
	Placing:     "placing",
	Assigning:   "assigning",
	Calling:     "calling",
	Probing:     "probing",
	Accepting:   "accepting",
	Attaching:   "attaching",
	Following:   "following",
	Naming:      "naming",
	Unassigning: "unassigning",
	Settling:    "settling",
	Holding:     "holding",
	Parking:     "parking",
	Left:        "left",
}

var kindNames = [...]string{
	Wake:         "wake",
	Loaded:       "loaded",
	Placed:       "placed",
	Unplaced:     "unplaced",
	Committed:    "committed",
	CommitFailed: "commit failed",
	Elapsed:      "elapsed",
	Joined:       "joined",
	Named:        "named",
	Finished:     "finished",
	Failed:       "failed",
	Gap:          "gap",
	Lapse:        "lapse",
	Cancel:       "cancel",
	Overdue:      "overdue",
	GiveUp:       "give up",
	Stop:         "stop",
}

var effectNames = [...]string{
	None:            "none",
	Load:            "load",
	Place:           "place",
	Assign:          "assign",
	Run:             "run",
	Watch:           "watch",
	Accept:          "accept",
	Name:            "name",
	Unassign:        "unassign",
	Finish:          "finish",
	FinishRefused:   "finish refused",
	FinishAbsent:    "finish absent",
	FinishCancelled: "finish cancelled",
	Interrupt:       "interrupt",
	InterruptUnpin:  "interrupt unpin",
	Restart:         "restart",
	Postpone:        "postpone",
	Renumber:        "renumber",
	Park:            "park",
	Renew:           "renew",
	SettleNew:       "settle new",
	Acknowledge:     "acknowledge",
	CancelTurn:      "cancel turn",
	Hold:            "hold",
	Pause:           "pause",
	Close:           "close",
	Report:          "report",
	RaiseAlarm:      "raise alarm",
	Leave:           "leave",
}

var actionNames = [...]string{
	Unknown:           "unknown",
	Fail:              "fail",
	Alarm:             "alarm",
	Wait:              "wait",
	WaitOrPlace:       "wait or place",
	InterruptAndUnpin: "interrupt and unpin",
	RunOrInterrupt:    "run or interrupt",
	Lost:              "lost",
}
