package conformance

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// Extension keys of the contract.
const (
	nonInteractive = "agent_api.exec.non_interactive"
	sandboxMode    = "backend.codex.exec.sandbox_mode"
	approvalPolicy = "backend.codex.exec.approval_policy"
)

// fakecodex leaves with a status of its own before its first event when the
// flags are not those it was told to expect, so a turn that succeeds proves them.
func TestExecPolicyBecomesFlags(t *testing.T) {
	for _, tt := range []struct {
		name       string
		extensions map[string]any
		sandbox    string
		approval   string
	}{
		{"defaults", nil, "workspace-write", "never"},
		{"read-only", map[string]any{sandboxMode: "read-only"}, "read-only", "never"},
		{"danger-full-access", map[string]any{sandboxMode: "danger-full-access"}, "danger-full-access", "never"},
		{"non-interactive, said", map[string]any{nonInteractive: true}, "workspace-write", "never"},
		{"non-interactive and never", map[string]any{nonInteractive: true, approvalPolicy: "never"}, "workspace-write", "never"},
		{"never", map[string]any{approvalPolicy: "never"}, "workspace-write", "never"},
		{"interactive without policy", map[string]any{nonInteractive: false}, "workspace-write", "<absent>"},
		{"interactive with policy", map[string]any{nonInteractive: false, approvalPolicy: "on-request"}, "workspace-write", "on-request"},
		{"interactive, no sandbox", map[string]any{nonInteractive: false, sandboxMode: "danger-full-access"}, "danger-full-access", "<absent>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			request := underTest.request(t, "", "FAKE_CODEX_EXPECT_SANDBOX="+tt.sandbox, "FAKE_CODEX_EXPECT_APPROVAL="+tt.approval)
			request.Extensions = extensions(t, tt.extensions)
			finished := underTest.run(t, request).finished()
			if finished.GetState() != orchestratorv1.TurnState_TURN_STATE_SUCCEEDED {
				t.Errorf("finished as %v: %v", finished.GetState(), finished.GetErrorDetail())
			}
			underTest.wantStarts(t, request.GetTurnId(), 1)
		})
	}
}

func TestExecPolicyContradictionIsRefusedBeforeSpawn(t *testing.T) {
	for _, policy := range []string{"untrusted", "on-failure", "on-request"} {
		for name, values := range map[string]map[string]any{
			"non-interactive by default": {approvalPolicy: policy},
			"non-interactive, said":      {approvalPolicy: policy, nonInteractive: true},
		} {
			t.Run(fmt.Sprintf("%s, %s", policy, name), func(t *testing.T) {
				t.Parallel()
				wantExtensionRefused(t, values, diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, approvalPolicy)
			})
		}
	}
}

func TestExtensionIsRefusedBeforeSpawn(t *testing.T) {
	const (
		invalid     = diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST
		unsupported = diagnosticsv1.ErrorReason_ERROR_REASON_UNSUPPORTED_CAPABILITY
	)
	const unknown = "backend.other.exec.speed"
	for _, tt := range []struct {
		name   string
		values map[string]any
		reason diagnosticsv1.ErrorReason
		key    string
	}{
		{"unknown key", map[string]any{unknown: 1.0}, unsupported, unknown},
		{"unknown key beside a good value", map[string]any{unknown: 1.0, sandboxMode: "read-only"}, unsupported, unknown},
		{"keys are judged before values", map[string]any{unknown: 1.0, sandboxMode: "none"}, unsupported, unknown},
		{"keys are judged before contradictions", map[string]any{unknown: 1.0, approvalPolicy: "on-request"}, unsupported, unknown},
		{"a key in other letters", map[string]any{"Backend.Codex.Exec.Sandbox_Mode": "read-only"}, unsupported, "Backend.Codex.Exec.Sandbox_Mode"},
		{"unknown sandbox mode", map[string]any{sandboxMode: "none"}, invalid, sandboxMode},
		{"empty sandbox mode", map[string]any{sandboxMode: ""}, invalid, sandboxMode},
		{"sandbox mode of another type", map[string]any{sandboxMode: true}, invalid, sandboxMode},
		{"sandbox mode null", map[string]any{sandboxMode: nil}, invalid, sandboxMode},
		{"unknown approval policy", map[string]any{nonInteractive: false, approvalPolicy: "always"}, invalid, approvalPolicy},
		{"approval policy of another type", map[string]any{nonInteractive: false, approvalPolicy: 1.0}, invalid, approvalPolicy},
		{"non-interactive as text", map[string]any{nonInteractive: "true"}, invalid, nonInteractive},
		{"non-interactive as number", map[string]any{nonInteractive: 1.0}, invalid, nonInteractive},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantExtensionRefused(t, tt.values, tt.reason, tt.key)
		})
	}
}

// TestOwnWorkerRefusesSandboxModesBeyondTheAllowed needs a worker that does not allow
// all.
func TestOwnWorkerRefusesSandboxModesBeyondTheAllowed(t *testing.T) {
	w := underTest.worker(t, t.TempDir(), "ORCHESTRATOR_ALLOWED_SANDBOXES=read-only,workspace-write")
	request := w.request(t, "")
	request.Extensions = extensions(t, map[string]any{sandboxMode: "danger-full-access"})
	info, err := w.wantNothingStarted(t, request, codes.InvalidArgument, diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
	wantExtensionField(t, err, info, sandboxMode)
	answer, err := w.client.GetCapabilities(t.Context(), &orchestratorv1.GetCapabilitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if modes := answer.GetAllowedSandboxModes(); len(modes) != 2 || modes[0] != "read-only" || modes[1] != "workspace-write" {
		t.Errorf("GetCapabilities allows %q", modes)
	}
}

func wantExtensionRefused(t *testing.T, values map[string]any, reason diagnosticsv1.ErrorReason, key string) {
	t.Helper()
	request := underTest.request(t, "")
	request.Extensions = extensions(t, values)
	info, err := underTest.wantNothingStarted(t, request, codes.InvalidArgument, reason)
	wantExtensionField(t, err, info, key)
}
