package conformance

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	diagnosticsv1 "telecodex.dev/gen/telecodex/diagnostics/v1"
	orchestratorv1 "telecodex.dev/gen/telecodex/orchestrator/v1"
)

func TestBadRequestNamesItsField(t *testing.T) {
	type edit = func(*orchestratorv1.RunTurnRequest)
	env := func(name, value string) edit {
		return func(r *orchestratorv1.RunTurnRequest) { r.Env[name] = value }
	}
	timeout := func(d time.Duration) edit {
		return func(r *orchestratorv1.RunTurnRequest) { r.Timeout = durationpb.New(d) }
	}
	dir := t.TempDir() // exists, but beneath no root
	for _, tt := range []struct {
		name  string
		field string
		edit  edit
	}{
		{"empty turn id", "turn_id", func(r *orchestratorv1.RunTurnRequest) { r.TurnId = "" }},
		{"turn id of 129 bytes", "turn_id", func(r *orchestratorv1.RunTurnRequest) { r.TurnId = strings.Repeat("x", 129) }},
		{"turn id with a control character", "turn_id", func(r *orchestratorv1.RunTurnRequest) { r.TurnId += "\n" }},
		{"turn id beyond ASCII", "turn_id", func(r *orchestratorv1.RunTurnRequest) { r.TurnId += "é" }},
		{"empty session id", "session_id", func(r *orchestratorv1.RunTurnRequest) { r.SessionId = "" }},
		{"session id of 257 bytes", "session_id", func(r *orchestratorv1.RunTurnRequest) { r.SessionId = strings.Repeat("x", 257) }},
		{"session id with NUL", "session_id", func(r *orchestratorv1.RunTurnRequest) { r.SessionId += "\x00" }},
		{"thread id that is a name", "thread_id", func(r *orchestratorv1.RunTurnRequest) { r.ThreadId = "last" }},
		{"thread id that is a flag", "thread_id", func(r *orchestratorv1.RunTurnRequest) { r.ThreadId = "--last" }},
		{"thread id without hyphens", "thread_id", func(r *orchestratorv1.RunTurnRequest) { r.ThreadId = strings.Repeat("0", 32) }},
		{"thread id in braces", "thread_id", func(r *orchestratorv1.RunTurnRequest) { r.ThreadId = "{01a1ffd2-7c2a-7ba3-b974-221e2ce82709}" }},
		{"empty prompt", "prompt", func(r *orchestratorv1.RunTurnRequest) { r.Prompt = "" }},
		{"blank prompt", "prompt", func(r *orchestratorv1.RunTurnRequest) { r.Prompt = " \t\r\n " }},
		{"prompt with NUL", "prompt", func(r *orchestratorv1.RunTurnRequest) { r.Prompt = "a\x00b" }},
		{"prompt over 1 MiB", "prompt", func(r *orchestratorv1.RunTurnRequest) { r.Prompt = strings.Repeat("x", 1<<20+1) }},
		{"timeout of zero", "timeout", timeout(0)},
		{"timeout below zero", "timeout", timeout(-time.Second)},
		{"timeout over 7 days", "timeout", timeout(7*24*time.Hour + time.Second)},
		{"timeout out of range", "timeout", func(r *orchestratorv1.RunTurnRequest) {
			r.Timeout = &durationpb.Duration{Seconds: 1 << 60, Nanos: -5}
		}},
		{"relative working directory", "working_dir", func(r *orchestratorv1.RunTurnRequest) { r.WorkingDir = "here" }},
		{"missing working directory", "working_dir", func(r *orchestratorv1.RunTurnRequest) { r.WorkingDir = filepath.Join(dir, "missing") }},
		{"working directory beneath no root", "working_dir", func(r *orchestratorv1.RunTurnRequest) { r.WorkingDir = dir }},
		{"empty env name", "env", env("", "x")},
		{"env name with =", "env", env("A=B", "x")},
		{"env name that begins with a digit", "env", env("1A", "x")},
		{"env name with a blank", "env", env("A B", "x")},
		{"env name with a hyphen", "env", env("A-B", "x")},
		{"HOME", "env", env("HOME", "/")},
		{"CODEX_HOME", "env", env("CODEX_HOME", "/")},
		{"LD_PRELOAD", "env", env("LD_PRELOAD", "/lib/x.so")},
		{"LD_ of any kind", "env", env("LD_", "x")},
		{"DYLD_INSERT_LIBRARIES", "env", env("DYLD_INSERT_LIBRARIES", "/lib/x.dylib")},
		{"env value with NUL", "env", env("A", "x\x00y")},
		{"env over 64 KiB", "env", env("A", strings.Repeat("x", 64<<10))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			request := underTest.request(t, "")
			tt.edit(request)
			info, err := underTest.wantNothingStarted(t, request, codes.InvalidArgument, diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
			wantField(t, err, info, tt.field)
			if strings.Contains(err.Error(), promptMark) {
				t.Errorf("the error quotes the prompt: %v", err)
			}
		})
	}
}

func TestInputAtItsBoundsIsAccepted(t *testing.T) {
	for name, edit := range map[string]func(*orchestratorv1.RunTurnRequest){
		"turn id of 128 bytes": func(r *orchestratorv1.RunTurnRequest) {
			r.TurnId += strings.Repeat("~", 128-len(r.TurnId))
		},
		"turn id with blanks and signs":  func(r *orchestratorv1.RunTurnRequest) { r.TurnId += ` !"#/\{}` },
		"session id of 256 bytes":        func(r *orchestratorv1.RunTurnRequest) { r.SessionId += strings.Repeat("/", 256-len(r.SessionId)) },
		"session id with dots and signs": func(r *orchestratorv1.RunTurnRequest) { r.SessionId = "../" + r.SessionId + `\..\ :*?` },
		"timeout of 7 days":              func(r *orchestratorv1.RunTurnRequest) { r.Timeout = durationpb.New(7 * 24 * time.Hour) },
		"empty env value":                func(r *orchestratorv1.RunTurnRequest) { r.Env["_A1"] = "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := underTest.request(t, "")
			edit(request)
			finished := underTest.run(t, request).finished()
			if want := "You said: " + request.GetPrompt(); finished.GetFinalText() != want {
				t.Errorf("finished %v, want %q", finished, want)
			}
		})
	}
	t.Run("prompt of 1 MiB", func(t *testing.T) {
		t.Parallel()
		request := underTest.request(t, "")
		request.Prompt = strings.Repeat("é", 1<<19)
		f := underTest.run(t, request)
		f.rest()
		if answer := answerOf(t, f.events); answer != "You said: "+request.GetPrompt() {
			t.Errorf("the answer has %d bytes", len(answer))
		}
	})
}

func TestBadTurnIDIsRefusedByEveryCall(t *testing.T) {
	for name, id := range map[string]string{"empty": "", "129 bytes": strings.Repeat("x", 129), "control character": "a\tb"} {
		for call, err := range map[string]error{
			"WatchTurn": func() error {
				_, err := underTest.tryWatch(t, &orchestratorv1.WatchTurnRequest{TurnId: id})
				return err
			}(),
			"GetTurn": func() error {
				_, err := underTest.client.GetTurn(t.Context(), &orchestratorv1.GetTurnRequest{TurnId: id})
				return err
			}(),
			"CancelTurn": func() error {
				_, err := underTest.client.CancelTurn(t.Context(), &orchestratorv1.CancelTurnRequest{TurnId: id})
				return err
			}(),
			"AcknowledgeTurn": underTest.acknowledge(t, id),
		} {
			t.Run(call+", "+name, func(t *testing.T) {
				info := wantRefusal(t, err, codes.InvalidArgument, diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
				wantField(t, err, info, "turn_id")
			})
		}
	}
}

func TestBadPageIsRefused(t *testing.T) {
	for name, request := range map[string]*orchestratorv1.ListTurnsRequest{
		"page_size":  {PageSize: -1},
		"page_token": {PageToken: "no token of this worker"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := underTest.client.ListTurns(t.Context(), request)
			info := wantRefusal(t, err, codes.InvalidArgument, diagnosticsv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
			wantField(t, err, info, name)
		})
	}
}
