package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "telecodex.dev/gen/telecodex/gateway/v1"
	"telecodex.dev/services/internal/checkup"
	"telecodex.dev/services/internal/pgtest"
	"telecodex.dev/services/internal/rpc"
	"telecodex.dev/services/internal/sqldb"
)

// polls is a gateway that only says how its polls go.
type polls struct {
	gatewayv1.UnimplementedGatewayServiceServer
	last *timestamppb.Timestamp
}

func (p *polls) GetStatus(context.Context, *gatewayv1.GetStatusRequest) (*gatewayv1.GetStatusResponse, error) {
	return &gatewayv1.GetStatusResponse{LastPollAt: p.last}, nil
}

func TestRunningGatewaySaysHowItsPollsGo(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	for _, tt := range []struct {
		name    string
		last    *timestamppb.Timestamp
		verdict checkup.Verdict
		detail  string
	}{
		{"lately", timestamppb.Now(), checkup.OK, "polled with success"},
		{"not yet", nil, checkup.Warn, "has not polled with success yet"},
		{"long ago", timestamppb.New(time.Now().Add(-time.Hour)), checkup.Fail, "last polled with success 1h0m"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sound(t, sim)
			lock, err := sqldb.TryLock(c.Store + ".lock")
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Unlock()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			operator := rpc.NewServer(rpc.ServerOptions{Log: zap.NewNop()})
			gatewayv1.RegisterGatewayServiceServer(operator, &polls{last: tt.last})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- operator.Serve(ctx, listener, 0) }()
			defer func() { cancel(); <-done }()
			c.ListenAddr = listener.Addr().String()
			expect(t, examined(t, c, false), "poller", tt.verdict, tt.detail)
		})
	}
}

func TestStoreOnAServerIsLookedAt(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	dsn := server.URL(t)
	readOnly, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	parameters := readOnly.Query()
	parameters.Set("default_transaction_read_only", "on")
	readOnly.RawQuery = parameters.Encode()
	for _, tt := range []struct {
		name, store string
		verdict     checkup.Verdict
		detail      string
	}{
		{"as it should be", dsn, checkup.OK, "what is committed lasts"},
		{"not to be written", readOnly.String(), checkup.Fail, "cannot be written"},
		{"not there", "postgres://user:" + url.QueryEscape(pgtest.Password) + "@127.0.0.1:1/db", checkup.Fail, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sound(t, sim)
			c.Store = tt.store
			found := examined(t, c, false)
			expect(t, found, "store", tt.verdict, tt.detail)
			if f := found["store"]; tt.name == "not there" && !strings.Contains(f.Mend, "see that the server runs") || strings.Count(f.Detail, "refused") > 1 {
				t.Errorf("%+v", f)
			}
			if text := found["store"].Detail; strings.Contains(text, pgtest.Password) || strings.Contains(text, url.QueryEscape(pgtest.Password)) {
				t.Errorf("the password is shown: %s", text)
			}
		})
	}
}

// TestStoreThatCannotBeOpenedIsToldOf looks at files with which a gateway would end.
func TestStoreThatCannotBeOpenedIsToldOf(t *testing.T) {
	t.Parallel()
	sim := simulate(t)
	made := echo(t, sim.URL, &lines{})
	made.Once = true
	if err := Run(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(made.Store)
	if err != nil {
		t.Fatal(err)
	}
	newer, damaged := bytes.Clone(whole), bytes.Clone(whole)
	binary.BigEndian.PutUint32(newer[60:], 9999)
	copy(damaged[pageSize:], bytes.Repeat([]byte{0xa7}, len(whole)-pageSize))
	for _, tt := range []struct {
		name    string
		content []byte
		verdict checkup.Verdict
		detail  string
		mend    string
		starts  bool
	}{
		{"sound", whole, checkup.OK, "a write was on the disk", "", true},
		{"met", whole, checkup.Warn, "has met damage", mendDamage, true},
		{"text", []byte("SECRET, and no database"), checkup.Fail, "is no SQLite database", mendOther, false},
		{"overwritten", bytes.Repeat([]byte{0xa7}, len(whole)), checkup.Fail, "is no SQLite database", mendOther, false},
		{"damaged", damaged, checkup.Fail, "is damaged", mendDamage, false},
		{"newer", newer, checkup.Fail, "schema 9999 is newer than this program's", mendNewer, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := sound(t, sim)
			if err := os.WriteFile(c.Store, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.name == "met" {
				if err := os.WriteFile(c.Store+".suspect", nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			found := examined(t, c, false)
			if f := found["store"]; tt.starts && strings.Contains(f.Detail, "; but that is a") {
				tt.verdict = checkup.Warn // of the file system
			}
			expect(t, found, "store", tt.verdict, tt.detail)
			if f := found["store"]; tt.mend != "" && f.Mend != tt.mend {
				t.Errorf("mend %q", f.Mend)
			}
			if after, err := os.ReadFile(c.Store); err != nil || !bytes.Equal(after, tt.content) {
				t.Errorf("the store was changed (%v)", err)
			}
			c.OrchestratorMode, c.Once = ModeDefault, true
			if err := Run(t.Context(), c); (err == nil) != tt.starts {
				t.Errorf("a gateway ends with %v", err)
			}
		})
	}
}
