// Package heartbeat tells a receiver of the operator's choice about failures: one
// HTTP POST for each, with one telemetry.v1.HeartbeatEvent as JSON. It does its
// best and no more: nothing is stored, nothing is tried twice, and what a
// receiver does or fails to do never costs more than a bounded time. It goes to
// the receiver directly, whatever proxy the environment names: a proxy that is
// dead is one of the failures it is there to tell of.
package heartbeat

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	telemetryv1 "telecodex.dev/gen/telecodex/telemetry/v1"
	"telecodex.dev/services/gateway/internal/cycle"
)

const (
	// defaultTimeout bounds the events of one report, all together.
	defaultTimeout = 2 * time.Second
	// atOnce is how many events are under way at once.
	atOnce = 8
	// maxAnswer is how much of an answer is read: it is not looked at, but a
	// connection is used again only when its answer was read.
	maxAnswer = 4 << 10
)

// Options say where events go.
type Options struct {
	// URL is http(s)://…; a user and password in it are sent as basic
	// authentication. It is never logged, for any part of it may be a secret.
	URL string
	// Timeout bounds the events of one report, all together; 0: 2 s.
	Timeout time.Duration
	Log     *zap.Logger // nil: none
}

// Poster posts events. It is safe for concurrent use.
type Poster struct {
	Options
	client *http.Client
}

// New returns a poster. It connects to nobody before there is an event.
func New(o Options) *Poster {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Poster{Options: o, client: &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{}).DialContext,
			MaxConnsPerHost:        atOnce,
			MaxIdleConnsPerHost:    atOnce,
			MaxResponseHeaderBytes: 64 << 10,
		},
		// The event goes to the receiver that was named and to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Post posts the events of a report and returns how many were not accepted, all
// within Timeout. An event is accepted when the receiver answers 2xx.
func (p *Poster) Post(r *telemetryv1.CycleReport) (failures int) {
	ctx, cancel := context.WithTimeout(context.Background(), p.Timeout)
	defer cancel()
	// Failures are rare: a kept connection would be dead when it is needed.
	defer p.client.CloseIdleConnections()
	events := Events(r)
	failed := make([]error, len(events))
	slots := make(chan struct{}, atOnce)
	var posts sync.WaitGroup
	for i, e := range events {
		slots <- struct{}{}
		posts.Go(func() {
			failed[i] = p.post(ctx, e)
			<-slots
		})
	}
	posts.Wait()
	var first error
	for _, err := range failed {
		if err == nil {
			continue
		}
		if failures++; first == nil {
			first = err
		}
	}
	if failures > 0 {
		p.Log.Warn("heartbeat events were not accepted", zap.Int("count", failures), zap.Int("of", len(events)), zap.NamedError("first", first))
	}
	return failures
}

func (p *Poster) post(ctx context.Context, e *telemetryv1.HeartbeatEvent) error {
	body, err := cycle.JSON(e)
	if err != nil {
		return errors.New("the event cannot be written as JSON")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "telecodex")
	response, err := p.client.Do(request)
	if err != nil {
		return reason(err)
	}
	defer response.Body.Close()
	// What else the receiver says, or whether it finishes, changes nothing.
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the receiver answered with status %d", response.StatusCode)
	}
	return nil
}

// reason says why no answer came, from a closed list: errors of the client quote
// the URL, and some what the receiver wrote.
func reason(err error) error {
	var (
		timeout net.Error
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		errno   syscall.Errno
	)
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("no answer in time")
	case errors.As(err, &dns):
		return errors.New("the host name cannot be resolved")
	case errors.As(err, &cert):
		return errors.New("the receiver's certificate is not trusted")
	case errors.As(err, &errno):
		return errno
	}
	return errors.New("the request failed")
}
