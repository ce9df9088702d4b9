package codex

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
)

// Keys of RunTurnRequest.extensions.
const (
	KeyNonInteractive = "agent_api.exec.non_interactive"
	KeySandboxMode    = "backend.codex.exec.sandbox_mode"
	KeyApprovalPolicy = "backend.codex.exec.approval_policy"
	KeyModel          = "backend.codex.exec.model"
)

// Sandbox modes of Codex, from the strictest.
const (
	SandboxReadOnly       = "read-only"
	SandboxWorkspaceWrite = "workspace-write"
	SandboxFullAccess     = "danger-full-access"
)

const approvalNever = "never"

// Policy is what the extensions of a request ask for.
type Policy struct {
	NonInteractive bool
	Sandbox        string // one of the sandbox modes
	Approval       string // for --ask-for-approval; empty: the flag is absent
	Model          string // for -m; empty: the flag is absent
}

// PolicyReason is why extensions are refused.
type PolicyReason string

// The reasons.
const (
	UnsupportedKey PolicyReason = "unsupported key"
	InvalidValue   PolicyReason = "invalid value"
)

// PolicyError names the extension that is refused. Its text never holds a value.
type PolicyError struct {
	Field  string // the key, at most 128 bytes of it
	Reason PolicyReason
	Want   string // what would be accepted
}

func (e *PolicyError) Error() string {
	if e.Reason == UnsupportedKey {
		return fmt.Sprintf("extensions[%q]: %s", e.Field, e.Reason)
	}
	return fmt.Sprintf("extensions[%q]: %s: want %s", e.Field, e.Reason, e.Want)
}

// ExtensionKeys are the keys ParsePolicy knows, sorted.
func ExtensionKeys() []string {
	return []string{KeyNonInteractive, KeyApprovalPolicy, KeyModel, KeySandboxMode}
}

// Capabilities are the capability ids of this engine, sorted.
func Capabilities() []string {
	ids := []string{"agent_api.run", "agent_api.events", "agent_api.events.live", "backend.codex.exec_stream"}
	ids = append(ids, ExtensionKeys()...)
	slices.Sort(ids)
	return ids
}

// ParsePolicy reads the extensions of a request. Keys are judged before values. Its
// error is a *PolicyError.
func ParsePolicy(extensions map[string]*structpb.Value, allowedSandboxes []string) (Policy, error) {
	for _, key := range slices.Sorted(maps.Keys(extensions)) {
		if !slices.Contains(ExtensionKeys(), key) {
			return Policy{}, &PolicyError{Field: cut(strings.ToValidUTF8(key, "\uFFFD"), 128), Reason: UnsupportedKey}
		}
	}
	var p Policy
	var err error
	if p.NonInteractive, err = parseNonInteractive(extensions); err != nil {
		return Policy{}, err
	}
	if p.Sandbox, err = parseSandbox(extensions, allowedSandboxes); err != nil {
		return Policy{}, err
	}
	if p.Approval, err = parseApproval(extensions, p.NonInteractive); err != nil {
		return Policy{}, err
	}
	if p.Model, err = parseModel(extensions); err != nil {
		return Policy{}, err
	}
	return p, nil
}

func parseNonInteractive(extensions map[string]*structpb.Value) (bool, error) {
	given, ok := extensions[KeyNonInteractive]
	if !ok {
		return true, nil
	}
	boolean, ok := given.GetKind().(*structpb.Value_BoolValue)
	if !ok {
		return false, &PolicyError{KeyNonInteractive, InvalidValue, "a boolean"}
	}
	return boolean.BoolValue, nil
}

// parseSandbox falls back to the strictest mode where the worker does not allow
// the usual one; it never falls back to a laxer one.
func parseSandbox(extensions map[string]*structpb.Value, allowed []string) (string, error) {
	mode, given, err := text(extensions, KeySandboxMode)
	if err != nil {
		return "", err
	}
	if !given {
		mode = SandboxWorkspaceWrite
		if !slices.Contains(allowed, mode) {
			mode = SandboxReadOnly
		}
	}
	if !slices.Contains([]string{SandboxReadOnly, SandboxWorkspaceWrite, SandboxFullAccess}, mode) || !slices.Contains(allowed, mode) {
		return "", &PolicyError{KeySandboxMode, InvalidValue, "one that this worker allows: " + strings.Join(allowed, ", ")}
	}
	return mode, nil
}

func parseApproval(extensions map[string]*structpb.Value, nonInteractive bool) (string, error) {
	policy, given, err := text(extensions, KeyApprovalPolicy)
	if err != nil {
		return "", err
	}
	known := []string{"untrusted", "on-failure", "on-request", approvalNever}
	switch {
	case given && !slices.Contains(known, policy):
		return "", &PolicyError{KeyApprovalPolicy, InvalidValue, "one of " + strings.Join(known, ", ")}
	case !nonInteractive:
		return policy, nil
	case given && policy != approvalNever:
		return "", &PolicyError{KeyApprovalPolicy, InvalidValue, approvalNever + ", or " + KeyNonInteractive + " false"}
	default:
		return approvalNever, nil
	}
}

// A model begins with a letter or digit, so that it cannot be taken for a flag.
// Its length is checked apart: a counted repetition is compiled at every start
// of the program, that of each turn's container too.
var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]*$`)

const maxModel = 128

func parseModel(extensions map[string]*structpb.Value) (string, error) {
	model, given, err := text(extensions, KeyModel)
	if err != nil {
		return "", err
	}
	if given && (len(model) > maxModel || !modelName.MatchString(model)) {
		return "", &PolicyError{KeyModel, InvalidValue, "1 to 128 of [A-Za-z0-9._:/-], first a letter or digit"}
	}
	return model, nil
}

// text reads an extension that is a string.
func text(extensions map[string]*structpb.Value, key string) (s string, given bool, err error) {
	v, given := extensions[key]
	if !given {
		return "", false, nil
	}
	str, ok := v.GetKind().(*structpb.Value_StringValue)
	if !ok {
		return "", true, &PolicyError{key, InvalidValue, "a string"}
	}
	return str.StringValue, true, nil
}
