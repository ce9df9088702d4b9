// Package protocol is the live smoke protocol TG-LIVE-E2 as data and pure
// functions: the cycles it runs and what each of them sabotages, the signals it
// expects, and the judgement from signal to scenario to decision. It runs
// nothing and reads nothing, so that every verdict can be shown to depend on
// what was observed, and only on that.
package protocol

import "slices"

// Name is the protocol's, and the beginning of the names of its evidence.
const Name = "tg-live-e2"

// Kind is one of the protocol's ways to run the program.
type Kind int

// The kinds, in the order in which they are run.
const (
	HappyPath Kind = iota
	TransientFetch
	CodexTimeout
	CodexExecFail
	AllowlistDrop
)

// Scenarios are the names that people use, in order.
func Scenarios() []string { return []string{"S1", "S2", "S3", "S4"} }

// Title is what a scenario is called in full.
func Title(scenario string) string {
	return map[string]string{"S1": "S1 happy path", "S2": "S2 telegram transient", "S3": "S3 codex timeout/failure", "S4": "S4 allowlist drop"}[scenario]
}

// Cycle is one run of the program: a scenario, or one injection of it.
type Cycle struct {
	Kind     Kind
	Scenario string // S1, S2, S3 or S4
	ID       string // names its evidence
	Title    string
	// Override is what the injection changes in the environment of the template;
	// empty: nothing.
	Override []Variable
	// Inbound says that it can only be observed with a message waiting.
	Inbound bool
	// Tries is how often a failure may be tried again with a person: the
	// "controlled retries" of the happy path.
	Tries int
	// Exit is the exit status that belongs to what is expected.
	Exit int
}

// Variable is one setting of the environment.
type Variable struct{ Name, Value string }

// ExcludingChat is the allowlist of the fourth scenario.
const ExcludingChat = "999999999"

// Cycles are all of them, in order. The third scenario has two injections, and
// is what both come to.
func Cycles() []Cycle {
	return []Cycle{
		{HappyPath, "S1", "S1-happy-path", "S1 happy path", nil, true, 3, 0},
		{TransientFetch, "S2", "S2-telegram-transient-fetch", "S2 telegram transient", []Variable{{"HTTPS_PROXY", "http://127.0.0.1:9"}}, false, 1, 1},
		{CodexTimeout, "S3", "S3-codex-timeout", "S3 codex timeout/failure, timeout", []Variable{{"CHANNEL_CODEX_TIMEOUT_S", "0.001"}}, true, 1, 0},
		{CodexExecFail, "S3", "S3-codex-exec-fail", "S3 codex timeout/failure, exec failure", []Variable{{"PATH", "/nonexistent"}}, true, 1, 0},
		{AllowlistDrop, "S4", "S4-allowlist-drop", "S4 allowlist drop", []Variable{{"CHANNEL_ALLOWED_CHAT_IDS", ExcludingChat}}, true, 1, 0},
	}
}

// Command is the cycle as a person would type it, with the template in the
// environment.
func (c Cycle) Command() string {
	line := ""
	for _, v := range c.Override {
		line += v.Name + "=" + v.Value + " "
	}
	return line + "bin/telecodex --once"
}

// Template is the protocol's environment for every cycle, without what belongs
// to the operator: token, canary chat and the place of the cursor file.
func Template() []Variable {
	return []Variable{
		{"CHANNEL_MODE", "poll"},
		{"CHANNEL_ACK_POLICY", "always"},
		{"CHANNEL_ORCHESTRATOR_MODE", "codex"},
		{"CHANNEL_CODEX_TIMEOUT_S", "20.0"},
		{"CHANNEL_NOTIFY_ON_ORCHESTRATOR_ERROR", "false"},
		{"CHANNEL_CODEX_SESSION_MAX", "128"},
		{"CHANNEL_CODEX_SESSION_IDLE_TTL_S", "900.0"},
		{"CHANNEL_POLL_INTERVAL_S", "2.0"},
		{"CHANNEL_STRICT_CURSOR_STATE_IO", "false"},
		{"CHANNEL_LIVE_MODE", "true"},
		{"CHANNEL_ONCE", "true"},
	}
}

// OperatorsChoice says whether a setting of the template is a default that an
// operator may have set otherwise. The judgement rests on the others.
func OperatorsChoice(name string) bool {
	return slices.Contains([]string{"CHANNEL_CODEX_TIMEOUT_S", "CHANNEL_CODEX_SESSION_MAX", "CHANNEL_CODEX_SESSION_IDLE_TTL_S",
		"CHANNEL_POLL_INTERVAL_S"}, name)
}

// telemetryCriterion is the one that every scenario can meet.
const telemetryCriterion = 5

// Criterion is the text of a criterion for NO-GO, 1 to 5.
func Criterion(number int) string {
	return [...]string{
		"Happy path cannot produce a successful round trip after controlled retries.",
		"Telegram transient failure is not classified as structured retryable adapter fetch failure.",
		"Codex timeout/failure causes unstructured crash or missing diagnostics.",
		"Allowlist drop sends outbound message or increments error_count unexpectedly.",
		"Telemetry contract missing/invalid (contract, version, counters/timers block).",
	}[number-1]
}

// Rollback are the commands that take the bot back to echo mode.
func Rollback() []string {
	return []string{
		`export CHANNEL_LIVE_MODE="false"`,
		`export CHANNEL_ORCHESTRATOR_MODE="default"`,
		`export CHANNEL_ALLOWED_CHAT_IDS=""`,
		`bin/telecodex --once`,
	}
}
