package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"telecodex.dev/services/internal/pgtest"
)

// TestPostgresMayBeRestartedWhileTheGatewayRuns stops the server of the store
// while messages come, turns run and answers are sent: once as its administrator
// does and once as a crash does.
func TestPostgresMayBeRestartedWhileTheGatewayRuns(t *testing.T) {
	t.Parallel()
	server := pgtest.New()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn := server.URL(t)
	s := newSystem(t)
	s.startWorker()
	p := s.startGateway(nil, "CHANNEL_STORE="+dsn, "CHANNEL_POLL_INTERVAL_S=0.1")
	s.say("first")
	s.heard(1)
	var prompts []string
	say := func(text string) {
		prompts = append(prompts, text)
		s.say(text)
	}
	for round, crash := range []bool{false, true} {
		slow := fmt.Sprintf("!scenario slow\nruns meanwhile %d", round)
		say(slow)
		s.eventually("the turn runs", func() bool { started, _ := s.runs(slow); return started == 1 })
		noticed := strings.Count(p.Stderr(), "the server cannot be reached")
		server.Stop(t, crash)
		say(fmt.Sprint("comes meanwhile ", round))
		s.eventually("the gateway has noticed", func() bool { return strings.Count(p.Stderr(), "the server cannot be reached") > noticed })
		server.Start(t)
		say(fmt.Sprint("comes after it ", round))
		s.heard(1 + len(prompts))
	}
	texts := s.heard(1 + len(prompts))
	for _, prompt := range prompts {
		if started, ended := s.runs(prompt); started != 1 || ended != 1 {
			t.Errorf("%q was begun %d times and ended %d times", prompt, started, ended)
		}
	}
	if slices.Sort(texts); len(slices.Compact(texts)) != 1+len(prompts) {
		t.Errorf("sent: %q", texts)
	}
	if err := p.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{pgtest.Password, url.QueryEscape(pgtest.Password), url.UserPassword("", pgtest.Password).String()[1:]} {
		if strings.Contains(p.Stdout()+p.Stderr(), secret) {
			t.Errorf("the store's password was printed: %s", p.Stderr())
		}
	}
}
