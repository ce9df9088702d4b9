package botapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/internal/freeport"
)

func TestFailuresOfASend(t *testing.T) {
	const api429 = `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 7","parameters":{"retry_after":7}}`
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    Error
	}{
		{"an HTML page with 502", reply(502, "text/html", "<html>Bad Gateway</html>"),
			Error{Kind: KindHTTP, Status: 502, Retry: RetryTransient, InDoubt: true}},
		{"an HTML page with 502 and Retry-After", reply(502, "text/html", "<html>", "Retry-After", "3"),
			Error{Kind: KindHTTP, Status: 502, Retry: RetryTransient, RetryAfter: 3 * time.Second, InDoubt: true}},
		{"an HTML page with 404", reply(404, "text/html", "<html>nothing here</html>"),
			Error{Kind: KindHTTP, Status: 404, Retry: RetryNever}},
		{"an HTML page with 200", reply(200, "text/html", "<html>log in to the hotel's network</html>"),
			Error{Kind: KindInvalidJSON, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"an empty body", answer(""),
			Error{Kind: KindInvalidJSON, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"JSON that stops in the middle", answer(`{"ok":true,"result":{"message_`),
			Error{Kind: KindInvalidJSON, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"a body that stops before its length", hijack(raw("HTTP/1.1 200 OK\nContent-Length: 90\n\n{\"ok\":true,\"result\":{\"message_id\":")),
			Error{Kind: KindNetwork, Status: 200, Retry: RetryTransient, InDoubt: true}},
		{"an error page that stops before its length", hijack(raw("HTTP/1.1 400 Bad Request\nContent-Length: 90\n\n{\"ok\":false")),
			Error{Kind: KindHTTP, Status: 400, Retry: RetryNever}},
		{"an array", answer(`[]`),
			Error{Kind: KindInvalidResponseShape, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"no ok", answer(`{"result":{"message_id":1}}`),
			Error{Kind: KindInvalidResponseShape, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"an ok that is no boolean", answer(`{"ok":"true","result":{"message_id":1}}`),
			Error{Kind: KindInvalidResponseShape, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"no result", answer(`{"ok":true}`),
			Error{Kind: KindInvalidResponseShape, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"a refusal that names no error", answer(`{"ok":false}`),
			Error{Kind: KindInvalidResponseShape, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"an answer that is too long", answer(`{"ok":true,"result":"` + strings.Repeat("x", maxCallBody) + `"}`),
			Error{Kind: KindInvalidResponseShape, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"a result without message_id", answer(`{"ok":true,"result":{"chat":{}}}`),
			Error{Kind: KindInvalidResultShape, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"a result that is true", answer(`{"ok":true,"result":true}`),
			Error{Kind: KindInvalidResultShape, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"a result that is null", answer(`{"ok":true,"result":null}`),
			Error{Kind: KindInvalidResultShape, Status: 200, Retry: RetryNever, InDoubt: true}},
		{"429 with parameters and header", reply(429, "application/json", api429, "Retry-After", "99"),
			Error{Kind: KindAPI, Status: 429, Code: 429, Retry: RetryRateLimit, RetryAfter: 7 * time.Second, Description: "Too Many Requests: retry after 7"}},
		{"429 with the header alone", reply(429, "application/json", `{"ok":false,"error_code":429,"description":"Too Many Requests"}`, "Retry-After", "9"),
			Error{Kind: KindAPI, Status: 429, Code: 429, Retry: RetryRateLimit, RetryAfter: 9 * time.Second, Description: "Too Many Requests"}},
		{"429 of a proxy", reply(429, "text/html", "slow down", "Retry-After", "4"),
			Error{Kind: KindHTTP, Status: 429, Retry: RetryRateLimit, RetryAfter: 4 * time.Second}},
		{"429 that says nothing", reply(429, "text/html", ""),
			Error{Kind: KindHTTP, Status: 429, Retry: RetryRateLimit}},
		{"a retry_after beyond reason", reply(429, "application/json", `{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":1e300}}`),
			Error{Kind: KindAPI, Status: 429, Code: 429, Retry: RetryRateLimit, RetryAfter: maxRetryAfter, Description: "x"}},
		{"a description of the wrong type does not hide retry_after", reply(429, "application/json", `{"ok":false,"error_code":429,"description":[],"parameters":{"retry_after":2,"migrate_to_chat_id":"x"}}`),
			Error{Kind: KindAPI, Status: 429, Code: 429, Retry: RetryRateLimit, RetryAfter: 2 * time.Second}},
		{"a refusal", reply(403, "application/json", `{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}`),
			Error{Kind: KindAPI, Status: 403, Code: 403, Retry: RetryNever, Description: "Forbidden: bot was blocked by the user"}},
		{"a refusal without a code takes the status", reply(400, "application/json", `{"ok":false,"description":"Bad Request"}`),
			Error{Kind: KindAPI, Status: 400, Code: 400, Retry: RetryNever, Description: "Bad Request"}},
		{"a group that became a supergroup", reply(400, "application/json", `{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat","parameters":{"migrate_to_chat_id":-1001234567890}}`),
			Error{Kind: KindAPI, Status: 400, Code: 400, Retry: RetryNever, MigrateToChatID: -1001234567890, Description: "Bad Request: group chat was upgraded to a supergroup chat"}},
		{"an internal error of the API", reply(500, "application/json", `{"ok":false,"error_code":500,"description":"Internal Server Error"}`),
			Error{Kind: KindAPI, Status: 500, Code: 500, Retry: RetryTransient, Description: "Internal Server Error", InDoubt: true}},
		{"success with an error status", reply(500, "application/json", `{"ok":true,"result":{"message_id":1}}`),
			Error{Kind: KindHTTP, Status: 500, Retry: RetryTransient, InDoubt: true}},
		{"a reset after the request", hijack(reset),
			Error{Kind: KindNetwork, Retry: RetryTransient, InDoubt: true}},
		{"a close after the request", hijack(func(net.Conn) {}),
			Error{Kind: KindNetwork, Retry: RetryTransient, InDoubt: true}},
		{"garbage instead of HTTP", hijack(raw("SSH-2.0-OpenSSH\n")),
			Error{Kind: KindNetwork, Retry: RetryTransient, InDoubt: true}},
		{"a redirect that repeats the token", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.invalid"+r.URL.Path, http.StatusTemporaryRedirect)
		}, Error{Kind: KindHTTP, Status: 307, Retry: RetryNever}},
		{"a redirect that cannot be parsed", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://%zz"+r.URL.Path)
			w.WriteHeader(http.StatusFound)
		}, Error{Kind: KindNetwork, Retry: RetryTransient, InDoubt: true}},
		{"a description that repeats the token", func(w http.ResponseWriter, r *http.Request) {
			reply(404, "application/json", `{"ok":false,"error_code":404,"description":"no such path: `+r.URL.Path+`"}`)(w, r)
		}, Error{Kind: KindAPI, Status: 404, Code: 404, Retry: RetryNever, Description: "no such path: /bot<token>/sendMessage"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := serve(t, tt.handler).SendMessage(t.Context(), SendMessage{ChatID: 1, Text: "hi"})
			tt.want.Operation = "sendMessage"
			check(t, err, tt.want)
		})
	}
}

// check compares the exported fields and looks for the token.
func check(t *testing.T, err error, want Error) *Error {
	t.Helper()
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("error %v is not an *Error", err)
	}
	exported := *got
	exported.detail, exported.cause = "", nil
	if exported != want {
		t.Errorf("got  %+v\nwant %+v", exported, want)
	}
	noToken(t, err)
	return got
}

func noToken(t *testing.T, values ...any) {
	t.Helper()
	for _, v := range values {
		encoded, _ := json.Marshal(v)
		for _, text := range []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%q", v), fmt.Sprintf("%s", v), string(encoded)} {
			if strings.Contains(text, "SENTINEL") {
				t.Errorf("%T prints the token", v)
			}
		}
	}
}

func TestExportedTypesHoldNoToken(t *testing.T) {
	o := Options{Token: func() string { return sentinel }}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	noToken(t, o, &o, c, *c, Error{}, User{}, Update{}, GetUpdates{}, WebhookInfo{}, Message{}, Entity{},
		SendMessage{}, EditMessageText{}, SendDocument{})
}

func TestConnectionRefusedIsNotInDoubt(t *testing.T) {
	address, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	_, err = client(t, "http://"+address).SendMessage(t.Context(), SendMessage{ChatID: 1, Text: "hi"})
	check(t, err, Error{Operation: "sendMessage", Kind: KindNetwork, Retry: RetryTransient})
}

func TestUntrustedCertificateAndUnknownHostAreNotInDoubt(t *testing.T) {
	plain := serve(t, answer(`{}`), func(o *Options) { o.BaseURL = strings.Replace(o.BaseURL, "http", "https", 1) })
	_, err := plain.SendMessage(t.Context(), SendMessage{ChatID: 1, Text: "hi"})
	check(t, err, Error{Operation: "sendMessage", Kind: KindNetwork, Retry: RetryTransient})

	unknown := client(t, "http://no-such-host.invalid")
	_, err = unknown.SendMessage(t.Context(), SendMessage{ChatID: 1, Text: "hi"})
	if got := (*Error)(nil); !errors.As(err, &got) || got.InDoubt || got.Kind == KindAPI {
		t.Errorf("got %+v", err)
	}
	noToken(t, err)
}

func TestSlowAnswers(t *testing.T) {
	stall := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	short := func(o *Options) { o.RequestTimeout, o.PollMargin = 50*time.Millisecond, 50*time.Millisecond }
	t.Run("no headers", func(t *testing.T) {
		_, err := serve(t, stall, short).SendMessage(t.Context(), SendMessage{ChatID: 1, Text: "hi"})
		got := check(t, err, Error{Operation: "sendMessage", Kind: KindTimeout, Retry: RetryTransient, InDoubt: true})
		if errors.Is(got, context.DeadlineExceeded) {
			t.Error("the client's own limit looks like the caller's")
		}
	})
	t.Run("a body that never ends", func(t *testing.T) {
		_, err := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte(`{"ok":true,`))
			w.(http.Flusher).Flush()
			stall(w, r)
		}, short).SendMessage(t.Context(), SendMessage{ChatID: 1, Text: "hi"})
		check(t, err, Error{Operation: "sendMessage", Kind: KindTimeout, Status: 200, Retry: RetryTransient, InDoubt: true})
	})
	t.Run("a poll outlasts the limit of other calls, up to its margin", func(t *testing.T) {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(200 * time.Millisecond):
				answer(`{"ok":true,"result":[]}`)(w, r)
			case <-r.Context().Done():
			}
		}, short)
		if _, err := c.GetUpdates(t.Context(), GetUpdates{Timeout: time.Second}); err != nil {
			t.Error(err)
		}
		_, err := c.GetUpdates(t.Context(), GetUpdates{})
		check(t, err, Error{Operation: "getUpdates", Kind: KindTimeout, Retry: RetryTransient, InDoubt: true})
	})
	t.Run("cancelled by the caller", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := serve(t, func(w http.ResponseWriter, r *http.Request) {
			cancel()
			stall(w, r)
		}).SendMessage(ctx, SendMessage{ChatID: 1, Text: "hi"})
		got := check(t, err, Error{Operation: "sendMessage", Kind: KindNetwork, Retry: RetryNever, InDoubt: true})
		if !errors.Is(got, context.Canceled) {
			t.Error("is not context.Canceled")
		}
	})
	t.Run("cancelled before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := serve(t, stall).SendMessage(ctx, SendMessage{ChatID: 1, Text: "hi"})
		check(t, err, Error{Operation: "sendMessage", Kind: KindNetwork, Retry: RetryNever})
	})
	t.Run("the caller's deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := serve(t, stall).SendMessage(ctx, SendMessage{ChatID: 1, Text: "hi"})
		if got := check(t, err, Error{Operation: "sendMessage", Kind: KindTimeout, Retry: RetryTransient, InDoubt: true}); !errors.Is(got, context.DeadlineExceeded) {
			t.Error("is not context.DeadlineExceeded")
		}
	})
}

func TestPredicates(t *testing.T) {
	topic := &Error{Kind: KindAPI, Code: 400, Description: "Bad Request: message thread not found"}
	conflict := &Error{Kind: KindAPI, Code: 409}
	if !topic.ThreadNotFound() || topic.Conflict() || conflict.ThreadNotFound() || !conflict.Conflict() {
		t.Error("the predicates mix up their errors")
	}
	if got, want := topic.Error(), "telegram : api-error 400: Bad Request: message thread not found"; got != want {
		t.Errorf("got %q", got)
	}
}

// net/http reads the proxy variables once per process, so a process of its own
// is asked.
func TestHTTPSProxyOfTheEnvironmentIsUsed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connect := make(chan string, 1)
	go func() {
		defer close(connect)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		line := make([]byte, 4096)
		n, _ := conn.Read(line)
		connect <- string(line[:n])
		conn.Write([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
	}()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "BOTAPI_TEST_BASE_URL=https://api.telegram.invalid",
		"HTTPS_PROXY=http://user:PROXYSECRET@"+listener.Addr().String(), "https_proxy=", "NO_PROXY=", "no_proxy=")
	output, err := child.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := <-connect; !strings.HasPrefix(got, "CONNECT api.telegram.invalid:443 ") {
		t.Errorf("the proxy got %q", got)
	}
	if !strings.Contains(string(output), "network-error") || strings.Contains(string(output), "SENTINEL") || strings.Contains(string(output), "PROXYSECRET") {
		t.Errorf("the client said %q", output)
	}
}
