package codex

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"
)

var bothSandboxes = []string{SandboxReadOnly, SandboxWorkspaceWrite}

func str(s string) *structpb.Value { return structpb.NewStringValue(s) }

type extensions = map[string]*structpb.Value

func TestPolicy(t *testing.T) {
	usual := Policy{NonInteractive: true, Sandbox: SandboxWorkspaceWrite, Approval: "never"}
	with := func(change func(*Policy)) Policy {
		p := usual
		change(&p)
		return p
	}
	for _, tc := range []struct {
		name    string
		given   extensions
		allowed []string
		want    Policy
	}{
		{"defaults", nil, bothSandboxes, usual},
		{"read-only", extensions{KeySandboxMode: str("read-only")}, bothSandboxes, with(func(p *Policy) { p.Sandbox = "read-only" })},
		{"full access where allowed", extensions{KeySandboxMode: str("danger-full-access")}, []string{"danger-full-access"},
			with(func(p *Policy) { p.Sandbox = "danger-full-access" })},
		{"the strictest default", nil, []string{SandboxReadOnly}, with(func(p *Policy) { p.Sandbox = "read-only" })},
		{"approval never", extensions{KeyApprovalPolicy: str("never")}, bothSandboxes, usual},
		{"interactive without a policy", extensions{KeyNonInteractive: structpb.NewBoolValue(false)}, bothSandboxes,
			with(func(p *Policy) { p.NonInteractive, p.Approval = false, "" })},
		{"interactive with a policy", extensions{KeyNonInteractive: structpb.NewBoolValue(false), KeyApprovalPolicy: str("on-request")}, bothSandboxes,
			with(func(p *Policy) { p.NonInteractive, p.Approval = false, "on-request" })},
		{"a model", extensions{KeyModel: str("openai/gpt-5.1:high_x")}, bothSandboxes, with(func(p *Policy) { p.Model = "openai/gpt-5.1:high_x" })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParsePolicy(tc.given, tc.allowed)
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestPolicyRefusals(t *testing.T) {
	for _, tc := range []struct {
		name    string
		given   extensions
		allowed []string
		field   string
		reason  PolicyReason
	}{
		{"unknown key", extensions{"backend.codex.exec.color": str("red")}, bothSandboxes, "backend.codex.exec.color", UnsupportedKey},
		{"keys before values", extensions{KeySandboxMode: str("none"), "z": str("")}, bothSandboxes, "z", UnsupportedKey},
		{"unknown sandbox", extensions{KeySandboxMode: str("none")}, bothSandboxes, KeySandboxMode, InvalidValue},
		{"unknown sandbox that is allowed", extensions{KeySandboxMode: str("none")}, []string{"none"}, KeySandboxMode, InvalidValue},
		{"sandbox that is not allowed", extensions{KeySandboxMode: str("danger-full-access")}, bothSandboxes, KeySandboxMode, InvalidValue},
		{"no default but full access", nil, []string{SandboxFullAccess}, KeySandboxMode, InvalidValue},
		{"sandbox of the wrong type", extensions{KeySandboxMode: structpb.NewNumberValue(1)}, bothSandboxes, KeySandboxMode, InvalidValue},
		{"null", extensions{KeySandboxMode: structpb.NewNullValue()}, bothSandboxes, KeySandboxMode, InvalidValue},
		{"no value at all", extensions{KeyNonInteractive: nil}, bothSandboxes, KeyNonInteractive, InvalidValue},
		{"a string for a boolean", extensions{KeyNonInteractive: str("true")}, bothSandboxes, KeyNonInteractive, InvalidValue},
		{"approval contradicts", extensions{KeyApprovalPolicy: str("on-request")}, bothSandboxes, KeyApprovalPolicy, InvalidValue},
		{"approval contradicts explicitly", extensions{KeyApprovalPolicy: str("untrusted"), KeyNonInteractive: structpb.NewBoolValue(true)},
			bothSandboxes, KeyApprovalPolicy, InvalidValue},
		{"unknown approval", extensions{KeyApprovalPolicy: str("always"), KeyNonInteractive: structpb.NewBoolValue(false)},
			bothSandboxes, KeyApprovalPolicy, InvalidValue},
		{"empty approval", extensions{KeyApprovalPolicy: str(""), KeyNonInteractive: structpb.NewBoolValue(false)},
			bothSandboxes, KeyApprovalPolicy, InvalidValue},
		{"a model that is a flag", extensions{KeyModel: str("--dangerously-bypass-approvals-and-sandbox")}, bothSandboxes, KeyModel, InvalidValue},
		{"a model that is too long", extensions{KeyModel: str(strings.Repeat("m", 129))}, bothSandboxes, KeyModel, InvalidValue},
		{"an empty model", extensions{KeyModel: str("")}, bothSandboxes, KeyModel, InvalidValue},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParsePolicy(tc.given, tc.allowed)
			var refused *PolicyError
			if !errors.As(err, &refused) || refused.Field != tc.field || refused.Reason != tc.reason {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), tc.field) {
				t.Errorf("%q does not name the field", err)
			}
		})
	}
}

func TestCapabilitiesAreSortedAndHoldTheKeys(t *testing.T) {
	if !slices.IsSorted(Capabilities()) || !slices.IsSorted(ExtensionKeys()) {
		t.Errorf("not sorted: %q, %q", Capabilities(), ExtensionKeys())
	}
	for _, id := range append(ExtensionKeys(), "agent_api.run", "agent_api.events", "agent_api.events.live", "backend.codex.exec_stream") {
		if !slices.Contains(Capabilities(), id) {
			t.Errorf("%s is missing", id)
		}
	}
}

// FuzzPolicy checks that what is accepted can be nothing but one of the few safe
// flags, and that what is refused is never repeated.
func FuzzPolicy(f *testing.F) {
	f.Add(KeySandboxMode, "danger-full-access", false, false)
	f.Add(KeyApprovalPolicy, "on-request", true, false)
	f.Add(KeyModel, "-m", true, true)
	f.Add("nope\xff", "secret", false, true)
	f.Fuzz(func(t *testing.T, key, content string, interactiveGiven, nonInteractive bool) {
		given := extensions{key: str(content)}
		if interactiveGiven {
			given[KeyNonInteractive] = structpb.NewBoolValue(nonInteractive)
		}
		p, err := ParsePolicy(given, bothSandboxes)
		if err != nil {
			var refused *PolicyError
			if !errors.As(err, &refused) || len(refused.Field) > 128 {
				t.Fatalf("got %v", err)
			}
			if refused.Reason == UnsupportedKey && slices.Contains(ExtensionKeys(), key) {
				t.Errorf("a known key is refused: %v", err)
			}
			return
		}
		if !slices.Contains(bothSandboxes, p.Sandbox) {
			t.Errorf("sandbox %q", p.Sandbox)
		}
		if p.NonInteractive && p.Approval != "never" {
			t.Errorf("approval %q", p.Approval)
		}
		if len(p.Model) > 128 || strings.HasPrefix(p.Model, "-") || strings.ContainsAny(p.Model, " \n\x00") {
			t.Errorf("model %q", p.Model)
		}
	})
}
