package smoke

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"telecodex.dev/services/internal/lifecycle"
	"telecodex.dev/services/telecodex/internal/smoke/evidence"
	"telecodex.dev/services/telecodex/internal/smoke/protocol"
)

// preflight prints what the protocol's own preflight prints.
func (r *run) preflight() {
	mode := "simulated"
	if r.Live {
		mode = "live"
	}
	r.console.linef("smoke protocol %s, %s", filepath.Base(r.kept.Path()), mode)
	env := newEnvironment(r.Environ)
	if r.Live && env["CANARY_CHAT_ID"] == "" { // it is the one that is allowed
		env["CANARY_CHAT_ID"] = env["CHANNEL_ALLOWED_CHAT_IDS"]
	}
	for _, line := range append(preflight(env), r.stage.describe()...) {
		r.console.linef("  %s", line)
	}
	r.console.linef("  %s", r.Version)
}

// preflight are the protocol's lines about tools and secrets, word for word.
func preflight(env environment) []string {
	state := func(set bool, yes, no string) string {
		if set {
			return yes
		}
		return no
	}
	_, err := exec.LookPath(cmp.Or(env["ORCHESTRATOR_CODEX_BIN"], "codex"))
	token, chat := env["CHANNEL_TOKEN"] != "" || env["CHANNEL_TOKEN_FILE"] != "", env["CANARY_CHAT_ID"]
	return []string{
		"codex=" + state(err == nil, "present", "missing"),
		"CHANNEL_TOKEN=" + state(token, "set", "missing"),
		"CANARY_CHAT_ID=" + state(chat != "", "set", "missing"),
		"CHANNEL_TOKEN=" + state(token, "<REDACTED>", ""),
		"CANARY_CHAT_ID=" + state(chat != "", chat, "<missing>"),
	}
}

// verdict is what a run came to, as --json shows it.
type verdict struct {
	Protocol  string            `json:"protocol"`
	Run       string            `json:"run"`
	Mode      string            `json:"mode"`
	Begin     time.Time         `json:"start_utc"`
	End       time.Time         `json:"end_utc"`
	Decision  protocol.Decision `json:"decision"`
	Reason    string            `json:"reason"`
	Scenarios []scenario        `json:"scenarios"`
	Criteria  []criterion       `json:"no_go_criteria"`
	Rollback  []string          `json:"rollback"`
	Evidence  string            `json:"evidence"`
}

type scenario struct {
	Name            string          `json:"scenario"`
	Result          protocol.Result `json:"result"`
	EvidenceIsWhole bool            `json:"evidence_captured"`
	Cycles          []cycle         `json:"cycles"`
}

type cycle struct {
	ID       string           `json:"id"`
	Title    string           `json:"title"`
	Try      int              `json:"try"`
	Command  string           `json:"command"`
	Begin    time.Time        `json:"start_utc,omitzero"`
	End      time.Time        `json:"end_utc,omitzero"`
	Result   protocol.Result  `json:"result"`
	Why      string           `json:"why,omitempty"`
	Redacted string           `json:"redacted_evidence,omitempty"`
	Checks   []protocol.Check `json:"checks"`
}

type criterion struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
}

// recheck looks once more at the redacted evidence, which may have been lost since it
// was written.
func (r *run) recheck() {
	for _, a := range r.attempts {
		if a.redacted == "" {
			continue
		}
		if err := evidence.Check(a.redacted); err != nil {
			a.redacted, a.keepErr = "", errors.Join(a.keepErr, err)
			r.console.linef("  %s, try %d, evidence: %v", a.cycle.ID, a.try, err)
		}
	}
}

// judge makes the verdict of what the cycles came to.
func (r *run) judge() verdict {
	r.recheck()
	v := verdict{Protocol: protocol.Name, Run: filepath.Base(r.kept.Path()), Mode: "simulated", Begin: r.begin.UTC(),
		End: time.Now().UTC(), Evidence: r.kept.Path(), Criteria: []criterion{}, Rollback: []string{}}
	if r.Live {
		v.Mode = "live"
	}
	results, captured := map[string]protocol.Result{}, map[string]bool{}
	var failed []protocol.Check
	for _, name := range protocol.Scenarios() {
		s := scenario{Name: name, EvidenceIsWhole: true}
		for _, a := range r.attempts {
			if a.cycle.Scenario == name {
				s.Cycles = append(s.Cycles, a.cycleOf())
			}
		}
		var each []protocol.Result
		for _, a := range r.lastTries(name) { // what a cycle came to is what its last try did
			each = append(each, a.result)
			s.EvidenceIsWhole = s.EvidenceIsWhole && a.redacted != "" && a.keepErr == nil
			failed = append(failed, a.checks...)
		}
		s.Result = protocol.ResultOf(each)
		results[name], captured[name] = s.Result, s.EvidenceIsWhole
		v.Scenarios = append(v.Scenarios, s)
	}
	v.Decision = protocol.Decide(results, captured)
	if v.Decision == protocol.NoGo {
		v.Rollback = protocol.Rollback()
		for _, number := range protocol.Criteria(failed) {
			v.Criteria = append(v.Criteria, criterion{number, protocol.Criterion(number)})
		}
	}
	return v
}

func (a *attempt) cycleOf() cycle {
	return cycle{ID: a.cycle.ID, Title: a.cycle.Title, Try: a.try, Command: a.cycle.Command(), Begin: a.begin.UTC(), End: a.end.UTC(),
		Result: a.result, Why: a.why, Redacted: a.redacted, Checks: a.checks}
}

// giveUp keeps the document of a run that was interrupted.
func (r *run) giveUp() error {
	v := r.judge()
	v.Reason = "interrupted; " + v.reason()
	r.console.linef("interrupted; what was observed before is in %s", r.kept.Path())
	if err := r.kept.KeepDocument("evidence.md", r.document(v)); err != nil {
		return fmt.Errorf("the evidence table cannot be kept: %w", err)
	}
	return nil
}

// conclude judges, keeps the document and says what came of it all.
func (r *run) conclude() (status int, err error) {
	v := r.judge()
	v.Reason = v.reason()
	if err := r.kept.KeepDocument("evidence.md", r.document(v)); err != nil {
		if v.Decision == protocol.Go {
			v.Decision = protocol.Conditional
		}
		v.Reason += "; the evidence table cannot be kept: " + err.Error()
	}
	r.console.linef("")
	r.console.linef("%s: %s", v.Decision, v.Reason)
	for _, c := range v.Criteria {
		r.console.linef("  criterion %d: %s", c.Number, c.Text)
	}
	if len(v.Rollback) > 0 {
		r.console.linef("Roll back to the echo mode:")
	}
	for _, line := range v.Rollback {
		r.console.linef("  %s", line)
	}
	r.console.linef("evidence: %s", v.Evidence)
	if r.JSON {
		encoder := json.NewEncoder(r.Stdout)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(v); err != nil {
			return 0, err
		}
	}
	switch v.Decision {
	case protocol.Go:
		return lifecycle.ExitOK, nil
	case protocol.NoGo:
		return lifecycle.ExitFailed, nil
	}
	return ExitConditional, nil
}

// reason says in a sentence why the decision is what it is.
func (v verdict) reason() string {
	var failed, open, bare []string
	for _, s := range v.Scenarios {
		switch {
		case s.Result == protocol.Fail:
			failed = append(failed, s.Name)
		case s.Result != protocol.Pass:
			open = append(open, s.Name)
		case !s.EvidenceIsWhole:
			bare = append(bare, s.Name)
		}
	}
	switch {
	case len(failed) > 0:
		return "failed: " + strings.Join(failed, ", ")
	case len(open) > 0:
		return "untested: " + strings.Join(open, ", ") + "; run it again before a decision"
	case len(bare) > 0:
		return "without redacted evidence: " + strings.Join(bare, ", ") + "; run it again before a decision"
	}
	return "S1, S2, S3 and S4 passed, redacted evidence is captured"
}

// document is the run's evidence for people: the protocol's table, then every
// check.
func (r *run) document(v verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nSmoke protocol, %s; %s\n\n**%s**: %s\n\n", v.Run, v.Mode, r.Version, v.Decision, v.Reason)
	var rows []evidence.Row
	for _, a := range r.attempts {
		title := a.cycle.Title
		if a.try > 1 {
			title = fmt.Sprintf("%s, try %d", title, a.try)
		}
		rows = append(rows, evidence.Row{Scenario: title, Command: a.cycle.Command(), Start: a.begin, End: a.end,
			Status: r.redactor.Text(a.observation.Text("status")), Reason: r.redactor.Text(a.observation.Text("reason")),
			Signals: r.redactor.Text(a.cycle.KeySignals(a.observation)), Path: a.redacted, Verdict: string(a.result)})
	}
	b.WriteString(evidence.Table(rows))
	for _, c := range v.Criteria {
		fmt.Fprintf(&b, "\nNO-GO criterion %d: %s\n", c.Number, c.Text)
	}
	if len(v.Rollback) > 0 {
		fmt.Fprintf(&b, "\nRoll back:\n\n```sh\n%s\n```\n", strings.Join(v.Rollback, "\n"))
	}
	for _, s := range v.Scenarios {
		fmt.Fprintf(&b, "\n## %s: %s\n", s.Name, s.Result)
		for _, c := range s.Cycles {
			fmt.Fprintf(&b, "\n%s, try %d: %s %s\n\n| Check | Expected | Observed | Result |\n|---|---|---|---|\n", c.ID, c.Try, c.Result, c.Why)
			for _, check := range c.Checks {
				fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", check.Name, evidence.Cell(check.Expected), evidence.Cell(check.Observed), check.Result)
			}
		}
	}
	return b.String()
}
