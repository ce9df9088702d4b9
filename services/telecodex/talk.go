package telecodex

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"telecodex.dev/services/internal/telegramsim"
)

// progressEvery is how often a person who waits is told so.
const (
	progressEvery      = 10 * time.Second // in plain lines
	progressOnTerminal = time.Second
)

// roundTrip sends one message and shows what comes of it, in plain lines.
func (s *stage) roundTrip(ctx context.Context, message string) error {
	started := time.Now()
	s.sayf("you: %s", message)
	report, err := s.ask(ctx, message, conversation{
		every:    progressEvery,
		progress: func(waited time.Duration) { s.sayf("… Codex works (%d s)", int(waited.Seconds())) },
		show:     func(text string) { s.sayf("bot: %s", text) },
	})
	if err != nil {
		return err
	}
	s.sayf("round trip: %s", time.Since(started).Round(time.Millisecond))
	s.sayf("cycle report: %s", report)
	return nil
}

// converse lets a person at a terminal talk to the bot until the input ends.
func (s *stage) converse(ctx context.Context, terminal io.Reader) error {
	s.sayf("Type a message, or /help; Ctrl+D ends the demonstration.")
	typed := make(chan string)
	// A read of a terminal cannot be called off: this goroutine ends with the
	// process at the latest.
	go func() {
		defer close(typed)
		for input := bufio.NewScanner(terminal); input.Scan(); {
			typed <- input.Text()
		}
	}()
	for {
		fmt.Fprint(s.out, "you> ")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case message, more := <-typed:
			if !more {
				s.sayf("")
				return nil
			}
			if strings.TrimSpace(message) == "" {
				continue
			}
			if _, err := s.ask(ctx, message, conversation{
				every:    progressOnTerminal,
				progress: func(waited time.Duration) { fmt.Fprintf(s.out, "\r… Codex works (%d s) ", int(waited.Seconds())) },
				show:     func(text string) { fmt.Fprintf(s.out, "\r\x1b[Kbot> %s\n", text) },
			}); err != nil {
				return err
			}
		}
	}
}

// conversation is how a person is shown what happens.
type conversation struct {
	every    time.Duration // between two signs of progress
	progress func(waited time.Duration)
	show     func(text string) // a message of the bot
}

// ask sends a message as the person and shows what the bot says until the cycle
// of the message has its report, which it returns.
func (s *stage) ask(ctx context.Context, message string, c conversation) (report string, err error) {
	known := len(s.sim.Messages(demoChat))
	s.sim.Inject(telegramsim.Incoming{ChatID: demoChat, FirstName: "You", Text: message})
	started := time.Now()
	ticker := time.NewTicker(c.every)
	defer ticker.Stop()
	following, stop := context.WithCancel(ctx)
	sent := make(chan telegramsim.Message)
	var followers sync.WaitGroup
	followers.Go(func() {
		for m := range s.sim.Follow(following, known) {
			select {
			case sent <- m:
			case <-following.Done():
				return
			}
		}
	})
	defer func() { stop(); followers.Wait() }()
	for {
		select {
		case m := <-sent:
			known++
			c.show(shown(m))
		case <-ticker.C:
			c.progress(time.Since(started))
		case report := <-s.reports:
			// What was sent by now may still be on its way to us.
			for _, m := range s.sim.Messages(demoChat)[known:] {
				c.show(shown(m))
			}
			return report, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// shown is a message as a terminal shows it.
func shown(m telegramsim.Message) string {
	if m.Document != nil {
		return fmt.Sprintf("[%s, %d bytes] %s", m.Document.Name, len(m.Document.Content), m.Text)
	}
	return m.Text
}
