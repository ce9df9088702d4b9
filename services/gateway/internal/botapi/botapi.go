// Package botapi is a client of the Telegram Bot API: the dozen methods the
// gateway needs, over net/http. It exists because the raw JSON of an update and
// the offset of a poll belong to the gateway, which stores the first and commits
// the second, and because every failure has to say three things a general client
// does not: whether trying again can help, how long to wait, and whether the
// request may have been carried out all the same.
//
// The bot token is part of every URL. It lives in a closure, never in a field,
// and no error of this package holds a URL or quotes what another library said
// about one.
package botapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultBaseURL is where Telegram serves the Bot API.
const DefaultBaseURL = "https://api.telegram.org"

const (
	defaultRequestTimeout = 30 * time.Second
	defaultPollMargin     = 10 * time.Second
	// slowestUpload is the rate, in bytes a second, that an upload may fall to
	// before it counts as stuck.
	slowestUpload = 64 << 10
)

// Options says how to reach the Bot API.
type Options struct {
	// Token gives the bot token; it is asked once, by New.
	Token func() string
	// BaseURL is the server, http or https, with an optional path; empty:
	// DefaultBaseURL.
	BaseURL string
	// Transport carries every request; nil: two transports of the client's own,
	// one for long polls and one for the rest, which honour the proxy variables
	// of the environment as net/http does.
	Transport http.RoundTripper
	// Retries are the waits between the tries of a read (getMe, getUpdates,
	// getWebhookInfo); nil: 250 ms and 500 ms; empty: a single try. Sends are
	// never repeated here.
	Retries []time.Duration
	// OnRetry is told the Bot API method of every read that is tried again.
	OnRetry func(operation string)
	// Permit is asked right before each call; its error is why the call is not
	// made. nil: every call is.
	Permit func(context.Context) error
	// OnMalformedUpdates is told how many elements of a getUpdates result were
	// left out because they have no usable update_id.
	OnMalformedUpdates func(count int)
	// RequestTimeout bounds one try of any method but getUpdates, uploads of
	// large files excepted; 0: 30 s.
	RequestTimeout time.Duration
	// PollMargin is how much longer than the long poll itself getUpdates may
	// take; 0: 10 s.
	PollMargin time.Duration
}

// Client calls Bot API methods. It is safe for concurrent use.
type Client struct {
	request        func(ctx context.Context, method string, body payload) (*http.Request, error)
	scrub          func(text string) string
	polls          *http.Client
	calls          *http.Client
	retries        []time.Duration
	permit         func(context.Context) error
	onRetry        func(operation string)
	onMalformed    func(count int)
	requestTimeout time.Duration
	pollMargin     time.Duration
}

// New returns a client. It fails when the token is empty or the base URL is
// not of the form http(s)://host[/path].
func New(o Options) (*Client, error) {
	var token string
	if o.Token != nil {
		token = o.Token()
	}
	if token == "" {
		return nil, errors.New("botapi: the token is empty")
	}
	base, err := parseBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	c := &Client{
		request:        requester(base, token),
		scrub:          scrubber(token),
		polls:          &http.Client{Transport: o.Transport, CheckRedirect: refuseRedirect},
		calls:          &http.Client{Transport: o.Transport, CheckRedirect: refuseRedirect},
		retries:        o.Retries,
		permit:         o.Permit,
		onRetry:        o.OnRetry,
		onMalformed:    o.OnMalformedUpdates,
		requestTimeout: o.RequestTimeout,
		pollMargin:     o.PollMargin,
	}
	if o.Transport == nil {
		c.polls.Transport, c.calls.Transport = newTransport(), newTransport()
	}
	if c.retries == nil {
		c.retries = []time.Duration{250 * time.Millisecond, 500 * time.Millisecond}
	}
	if c.permit == nil {
		c.permit = func(context.Context) error { return nil }
	}
	if c.onRetry == nil {
		c.onRetry = func(string) {}
	}
	if c.onMalformed == nil {
		c.onMalformed = func(int) {}
	}
	if c.requestTimeout == 0 {
		c.requestTimeout = defaultRequestTimeout
	}
	if c.pollMargin == 0 {
		c.pollMargin = defaultPollMargin
	}
	return c, nil
}

// CloseIdleConnections closes the connections that no request uses.
func (c *Client) CloseIdleConnections() {
	c.polls.CloseIdleConnections()
	c.calls.CloseIdleConnections()
}

// refuseRedirect makes a redirect an answer like any other: following it would
// hand the token to whomever it names, in the URL or as a Referer.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// parseBase keeps quiet about the URL in its error: people paste whole method
// URLs, with the token in them.
func parseBase(text string) (*url.URL, error) {
	if text == "" {
		text = DefaultBaseURL
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("botapi: the base URL must be http(s)://host[/path], without user, query or fragment")
	}
	return u, nil
}

// requester closes over the URL. The token never goes through url.Parse, whose
// errors quote their input.
func requester(base *url.URL, token string) func(context.Context, string, payload) (*http.Request, error) {
	prefix, escaped := base.Path+"/bot"+token+"/", base.EscapedPath()+"/bot"+url.PathEscape(token)+"/"
	return func(ctx context.Context, method string, body payload) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base.String(), body.open())
		if err != nil {
			return nil, errors.New("cannot build the request")
		}
		req.URL.Path, req.URL.RawPath = prefix+method, escaped+method
		req.ContentLength = body.length
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(body.open()), nil }
		req.Header.Set("Content-Type", body.contentType)
		req.Header.Set("User-Agent", "telecodex")
		return req, nil
	}
}

// scrubber returns a function that takes the token out of a text the server
// wrote.
func scrubber(token string) func(string) string {
	return strings.NewReplacer(token, "<token>", url.PathEscape(token), "<token>",
		url.QueryEscape(token), "<token>").Replace
}

// newTransport is net/http's default with its own connections: on HTTP/2 a
// shared one would let a stalled poll stall the sends.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// payload is a request body that can be sent more than once.
type payload struct {
	contentType string
	length      int64
	open        func() io.Reader
}

func bytesPayload(contentType string, data []byte) payload {
	return payload{contentType, int64(len(data)), func() io.Reader { return bytes.NewReader(data) }}
}
