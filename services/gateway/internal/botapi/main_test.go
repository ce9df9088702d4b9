package botapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// sentinel must appear in nothing that the package prints.
const sentinel = "424242:SENTINEL-token_DO-NOT-LEAK"

func TestMain(m *testing.M) {
	if base := os.Getenv("BOTAPI_TEST_BASE_URL"); base != "" {
		// A child of TestHTTPSProxyOfTheEnvironmentIsUsed.
		c, err := New(Options{Token: func() string { return sentinel }, BaseURL: base, Retries: []time.Duration{}})
		if err == nil {
			_, err = c.GetMe(context.Background())
		}
		os.Stdout.WriteString(err.Error())
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serve starts a server and a client of it. Times are short; see the tests that
// change them.
func serve(t *testing.T, handler http.HandlerFunc, change ...func(*Options)) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return client(t, server.URL, change...)
}

func client(t *testing.T, base string, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{
		Token:   func() string { return sentinel },
		BaseURL: base,
		Retries: []time.Duration{},
	}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func reply(status int, contentType, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	}
}

func answer(body string) http.HandlerFunc { return reply(200, "application/json", body) }

// hijack reads the request and then does something to its connection.
func hijack(do func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		do(conn)
		conn.Close()
	}
}

func reset(conn net.Conn) { conn.(*net.TCPConn).SetLinger(0) }

func raw(text string) func(net.Conn) {
	return func(conn net.Conn) { conn.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))) }
}
