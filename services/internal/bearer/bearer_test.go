package bearer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc/metadata"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const old, fresh = "old-token-0123456789", "new-token-0123456789"

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, time.Now(), time.Now())); err != nil { // by the test's clock
		t.Fatal(err)
	}
}

func showing(values ...string) metadata.MD { return metadata.MD{"authorization": values} }

func TestWhatIsAccepted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write(t, path, "\n"+fresh+"\r\n"+old+"\n")
	a, err := NewAccepted(zap.NewNop(), "TOKEN_FILE", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		md   metadata.MD
		want bool
	}{
		{"the first", showing("Bearer " + fresh), true},
		{"the second", showing("Bearer " + old), true},
		{"one of several", showing("Basic x", "Bearer "+old), true},
		{"none", nil, false},
		{"empty", showing(""), false},
		{"nothing after the scheme", showing("Bearer "), false},
		{"without the scheme", showing(old), false},
		{"another scheme", showing("Basic " + old), false},
		{"a part", showing("Bearer " + old[:len(old)-1]), false},
		{"more", showing("Bearer " + old + "0"), false},
		{"the whole file", showing("Bearer " + fresh + "\n" + old), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := a.Holds(tt.md); got != tt.want {
				t.Errorf("accepted: %v", got)
			}
		})
	}
}

// An operator adds the new token where it is accepted, changes it where it is shown,
// and takes the old one away; no call is refused meanwhile.
func TestTokensAreReplacedWithoutARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		accepts, shows := filepath.Join(dir, "accepts"), filepath.Join(dir, "shows")
		write(t, accepts, old)
		write(t, shows, old)
		a, err := NewAccepted(zap.NewNop(), "A", accepts)
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewShown(zap.NewNop(), "S", shows)
		if err != nil {
			t.Fatal(err)
		}
		for i, step := range []func(){func() {}, func() { write(t, accepts, old+"\n"+fresh) }, func() { write(t, shows, fresh) },
			func() { write(t, accepts, fresh) }} {
			step()
			time.Sleep(time.Second)
			md, err := s.Credentials(true).GetRequestMetadata(t.Context())
			if err != nil || !a.Holds(metadata.New(md)) {
				t.Errorf("step %d: refused, %v", i, err)
			}
		}
		if a.Holds(showing("Bearer " + old)) {
			t.Error("the old token is accepted for ever")
		}
	})
}

func TestTokenTravelsEncryptedOrNotAtAll(t *testing.T) {
	s := &Shown{}
	if !s.Credentials(false).RequireTransportSecurity() || s.Credentials(true).RequireTransportSecurity() {
		t.Error("the token would cross a network in the clear, or not reach a local server")
	}
}

func FuzzTokens(f *testing.F) {
	for _, seed := range []string{"", old, old + "\n" + fresh, "short", strings.Repeat("x", 5000), "with space 0123456789", "\x00" + old, strings.Repeat(old+"\n", 17), "ü" + old} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		tokens, err := tokensOf("SETTING", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "SETTING: ") {
				t.Errorf("the error does not name the setting: %v", err)
			}
			return
		}
		if len(tokens) == 0 || len(tokens) > maxTokens {
			t.Fatalf("%d tokens", len(tokens))
		}
		for _, token := range tokens {
			if len(token) < minToken || strings.ContainsAny(token, " \n\r\t") {
				t.Errorf("token %q", token)
			}
		}
	})
}
