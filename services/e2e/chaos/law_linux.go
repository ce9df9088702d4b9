package chaos

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// lawEvery is how long it is between two scrapes of a gateway.
const lawEvery = 20 * time.Millisecond

// metricsOf is where a gateway shows its metrics: the path of a socket, so short.
func (r *run) metricsOf(gateway string) string {
	return filepath.Join(r.Dir, strings.Replace(gateway, "gateway", "m", 1))
}

// law scrapes a gateway for as long as ctx allows and holds every scrape to
//
//	accepted = answered + dropped + interrupted + pending
//
// whatever is killed meanwhile. A gateway that stands by says nothing of it.
func (r *run) law(ctx context.Context, gateway string) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.metricsOf(gateway))
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	for last := int64(0); ctx.Err() == nil; sleep(ctx, lawEvery) {
		text, ok := scrape(ctx, client)
		if !ok {
			continue
		}
		accepted, became, ok := lawful(text)
		switch {
		case !ok:
		case accepted != became:
			r.tally.failed("%s: %d updates were accepted, %d are answered, dropped, interrupted or pending", gateway, accepted, became)
		case accepted < last:
			r.tally.failed("%s: %d updates were accepted, before there were %d", gateway, accepted, last)
		default:
			last = accepted
			r.tally.count("scrapes at which the law held")
		}
	}
}

// scrape reads the metrics; false while the gateway is dead, or dies.
func scrape(ctx context.Context, client *http.Client) (string, bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway/metrics", nil)
	if err != nil {
		return "", false
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", false
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err == nil
}

var (
	acceptedLine = regexp.MustCompile(`(?m)^telecodex_gateway_updates_accepted_total (\S+)$`)
	becameLine   = regexp.MustCompile(`(?m)^telecodex_gateway_updates\{state="[a-z]+"\} (\S+)$`)
)

// lawful reads both sides of the law; false where they are not shown.
func lawful(text string) (accepted, became int64, ok bool) {
	line := acceptedLine.FindStringSubmatch(text)
	states := becameLine.FindAllStringSubmatch(text, -1)
	if line == nil || len(states) != 4 {
		return 0, 0, false
	}
	for _, state := range states {
		became += number(state[1])
	}
	return number(line[1]), became, true
}

// number reads a count; -1 for what is none.
func number(text string) int64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return -1
	}
	return int64(n)
}
