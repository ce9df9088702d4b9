package conformance

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

// errorDomain is ErrorInfo.domain of every error.
const errorDomain = "telecodex.dev"

func codeOf(err error) codes.Code { return status.Code(err) }

// infoOf is the ErrorInfo of an error, nil when it has none.
func infoOf(err error) *errdetails.ErrorInfo {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}

// wantRefusal checks the code and the reason of an error, and that the reason is
// one of the contract.
func wantRefusal(t *testing.T, err error, code codes.Code, reason diagnosticsv1.ErrorReason) *errdetails.ErrorInfo {
	t.Helper()
	if err == nil {
		t.Fatalf("the call succeeded, want %v", reason)
	}
	info := infoOf(err)
	if info == nil {
		t.Fatalf("no ErrorInfo in: %v", err)
	}
	if want := strings.TrimPrefix(reason.String(), "ERROR_REASON_"); info.GetReason() != want || info.GetDomain() != errorDomain {
		t.Errorf("reason %q of domain %q, want %q: %v", info.GetReason(), info.GetDomain(), want, err)
	}
	if got := codeOf(err); got != code {
		t.Errorf("code %v, want %v", got, code)
	}
	return info
}

// wantField checks that an error names the field at fault, or an element of it,
// for programs and for people.
func wantField(t *testing.T, err error, info *errdetails.ErrorInfo, field string) {
	t.Helper()
	got := info.GetMetadata()["field"]
	if rest, ok := strings.CutPrefix(got, field); !ok || rest != "" && !strings.HasPrefix(rest, "[") && !strings.HasPrefix(rest, ".") {
		t.Errorf("metadata names the field %q, want %q", got, field)
	}
	if message := status.Convert(err).Message(); !strings.Contains(message, field) {
		t.Errorf("the message does not name %s: %q", field, message)
	}
}

// wantUnknown checks that the journal does not know a turn.
func (w *target) wantUnknown(t *testing.T, turnID string) {
	t.Helper()
	_, err := w.client.GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{TurnId: turnID})
	wantRefusal(t, err, codes.NotFound, diagnosticsv1.ErrorReason_ERROR_REASON_TURN_UNKNOWN)
}

// wantNothingStarted runs a request that must be refused, and checks that
// nothing was journaled and Codex not started.
func (w *target) wantNothingStarted(t *testing.T, request *orchestratorv1.RunTurnRequest, code codes.Code, reason diagnosticsv1.ErrorReason) (*errdetails.ErrorInfo, error) {
	t.Helper()
	_, err := w.tryRun(t, request)
	info := wantRefusal(t, err, code, reason)
	if id := request.GetTurnId(); id != "" && len(id) <= 128 && printable(id) {
		w.wantUnknown(t, id)
		w.wantStarts(t, id, 0)
	}
	return info, err
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// wantExtensionField checks that an error names an extension key, as
// extensions["key"], extensions[key] or the key alone.
func wantExtensionField(t *testing.T, err error, info *errdetails.ErrorInfo, key string) {
	t.Helper()
	if got := info.GetMetadata()["field"]; !strings.Contains(got, key) {
		t.Errorf("metadata names the field %q, want %q", got, key)
	}
	if message := status.Convert(err).Message(); !strings.Contains(message, key) {
		t.Errorf("the message does not name %s: %q", key, message)
	}
}
