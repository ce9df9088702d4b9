package conformance

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

func (w *target) acknowledge(t *testing.T, turnID string) error {
	t.Helper()
	_, err := w.client.AcknowledgeTurn(t.Context(), &orchestratorv1.AcknowledgeTurnRequest{TurnId: turnID})
	return err
}

func TestAcknowledgeTurn(t *testing.T) {
	t.Parallel()
	request := underTest.request(t, "")
	original := underTest.run(t, request).rest()
	id := request.GetTurnId()
	if underTest.get(t, id).GetAcknowledged() {
		t.Error("it is acknowledged before anybody did")
	}
	for range 2 { // it is idempotent
		if err := underTest.acknowledge(t, id); err != nil {
			t.Fatal(err)
		}
	}
	turn := underTest.get(t, id)
	if !turn.GetAcknowledged() || !proto.Equal(turn.GetFinished(), original[len(original)-1].GetFinished()) {
		t.Errorf("GetTurn says %v", turn)
	}
	if slices.ContainsFunc(underTest.list(t, 1000, true), func(t *orchestratorv1.Turn) bool { return t.GetTurnId() == id }) {
		t.Error("ListTurns of the unacknowledged still has it")
	}
	t.Run("its id cannot run again", func(t *testing.T) {
		// The events may be gone, the turn is not.
		f := underTest.run(t, request)
		if !f.accepted.GetAttached() {
			t.Error("accepted does not say attached")
		}
		underTest.wantStarts(t, id, 1)
		other := proto.CloneOf(request)
		other.Prompt += "!"
		_, err := underTest.tryRun(t, other)
		wantRefusal(t, err, codes.AlreadyExists, diagnosticsv1.ErrorReason_ERROR_REASON_TURN_ID_REUSED)
	})
}

func TestAcknowledgeBeforeTheEndIsRefused(t *testing.T) {
	t.Parallel()
	f := underTest.run(t, underTest.request(t, "hang"))
	f.next()
	if err := underTest.acknowledge(t, f.turnID); err == nil || infoOf(err).GetDomain() != errorDomain {
		t.Errorf("AcknowledgeTurn of a running turn: %v", err)
	}
	if underTest.get(t, f.turnID).GetAcknowledged() {
		t.Error("it is acknowledged")
	}
	underTest.cancel(t, f.turnID)
	f.rest()
	if err := underTest.acknowledge(t, f.turnID); err != nil {
		t.Error(err)
	}
}

// list reads every page.
func (w *target) list(t *testing.T, size int32, unacknowledged bool) []*orchestratorv1.Turn {
	t.Helper()
	var turns []*orchestratorv1.Turn
	request := &orchestratorv1.ListTurnsRequest{PageSize: size, UnacknowledgedOnly: unacknowledged}
	for {
		answer, err := w.client.ListTurns(t.Context(), request)
		if err != nil {
			t.Fatalf("ListTurns: %v", err)
		}
		if size > 0 && len(answer.GetTurns()) > int(size) {
			t.Fatalf("a page of %d turns, asked for %d", len(answer.GetTurns()), size)
		}
		turns = append(turns, answer.GetTurns()...)
		if request.PageToken = answer.GetNextPageToken(); request.PageToken == "" {
			return turns
		}
	}
}

// Not parallel: the list must not grow while its pages are compared.
func TestListTurnsPages(t *testing.T) {
	ids := make([]string, 5)
	for i := range ids {
		request := underTest.request(t, "")
		ids[i] = request.GetTurnId()
		underTest.run(t, request).rest()
	}
	all := underTest.list(t, 1000, false)
	for _, size := range []int32{0, 2, 3} {
		pages := underTest.list(t, size, false)
		if !slices.EqualFunc(all, pages, func(a, b *orchestratorv1.Turn) bool { return proto.Equal(a, b) }) {
			t.Errorf("pages of %d: %d turns, in one page %d", size, len(pages), len(all))
		}
	}
	if len(all) < len(ids) {
		t.Fatalf("%d turns", len(all))
	}
	for i, turn := range all[len(all)-len(ids):] {
		if turn.GetTurnId() != ids[i] {
			t.Errorf("turn %d of the last is %s, want %s: oldest first", i, turn.GetTurnId(), ids[i])
		}
		if got := underTest.get(t, ids[i]); !proto.Equal(got, turn) {
			t.Errorf("ListTurns says %v, GetTurn %v", turn, got)
		}
	}
	for i := 1; i < len(all); i++ {
		if all[i].GetCreatedAt().AsTime().Before(all[i-1].GetCreatedAt().AsTime()) {
			t.Errorf("turn %d is older than the one before", i)
		}
	}
	if err := underTest.acknowledge(t, ids[2]); err != nil {
		t.Fatal(err)
	}
	left := underTest.list(t, 2, true)
	for i, id := range ids {
		listed := slices.ContainsFunc(left, func(t *orchestratorv1.Turn) bool { return t.GetTurnId() == id })
		if listed == (i == 2) {
			t.Errorf("turn %d is among the unacknowledged: %v", i, listed)
		}
	}
}

// A page token stays good while turns are added behind it.
func TestListTurnsLosesNothingWhileTurnsAreAdded(t *testing.T) {
	for range 3 {
		underTest.run(t, underTest.request(t, "")).rest()
	}
	first, err := underTest.client.ListTurns(t.Context(), &orchestratorv1.ListTurnsRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	added := underTest.request(t, "")
	underTest.run(t, added).rest()
	rest := first.GetTurns()
	for token := first.GetNextPageToken(); token != ""; {
		page, err := underTest.client.ListTurns(t.Context(), &orchestratorv1.ListTurnsRequest{PageSize: 1000, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		rest, token = append(rest, page.GetTurns()...), page.GetNextPageToken()
	}
	if all := underTest.list(t, 1000, false); len(rest) != len(all) || rest[len(rest)-1].GetTurnId() != added.GetTurnId() {
		t.Errorf("%d turns, want %d", len(rest), len(all))
	}
}
