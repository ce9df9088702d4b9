package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"telecodex.dev/services/internal/telegramsim"
)

// people write to the bot, and decide about what was interrupted.
type people struct {
	sim      *telegramsim.Server
	seed     uint64
	files    string // a directory for the processes that a turn leaves behind
	random   *rand.Rand
	chats    []int64
	slow     bool     // every turn takes a while
	choices  []string // about interrupted turns
	restarts int      // of the update ids

	mu      sync.Mutex
	said    []Said
	decided []Decision
	updates map[Place]int64
	numbers map[int64]int
	open    map[Place]bool     // neither answered nor decided about
	asked   map[string]bool    // turn ids
	undone  map[Place]question // what commands were to decide
	due     []question
}

// question is one that a person is going to answer.
type question struct {
	at      time.Time
	place   Place
	message int64 // that has the buttons
	turn    string
}

func newPeople(sim *telegramsim.Server, seed uint64, chats int, files string) *people {
	p := &people{sim: sim, choices: []string{Again, Again, Resume, Drop}, seed: seed, files: files, random: random(seed, streamPeople), updates: map[Place]int64{},
		numbers: map[int64]int{}, open: map[Place]bool{}, asked: map[string]bool{}, undone: map[Place]question{}}
	for i := range chats {
		id := int64(1001 + i)
		if i%10 == 9 {
			id = -id // a group
		}
		p.chats = append(p.chats, id)
	}
	return p
}

// write has people write at a rate, in bursts, until ctx ends. While many wait for
// their answers nobody writes.
func (p *people) write(ctx context.Context, rate float64, most int) {
	for ctx.Err() == nil {
		chat := p.chats[p.random.IntN(len(p.chats))]
		burst := 1
		if p.random.IntN(5) == 0 {
			burst += 1 + p.random.IntN(3)
		}
		for range burst {
			if p.waiting() < most {
				p.say(chat)
			}
		}
		p.decideUntil(ctx, time.Duration(float64(burst)*(0.5+p.random.Float64())/rate*float64(time.Second)))
	}
}

func (p *people) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// written is how many messages there were so far.
func (p *people) written() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.said)
}

// undecided says whether a command may have met another turn than it was meant
// for, or a question waits to be answered.
func (p *people) undecided() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.undone)+len(p.due) > 0
}

// decideUntil answers the questions that are due, for a time.
func (p *people) decideUntil(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); ctx.Err() == nil; {
		p.decideDue()
		left := time.Until(end)
		if left <= 0 {
			return
		}
		sleep(ctx, min(left, 20*time.Millisecond))
	}
}

// say writes the next message of a chat.
func (p *people) say(chat int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.numbers[chat]++
	n := p.numbers[chat]
	switch p.random.IntN(25) {
	case 0, 1:
		p.inject(chat, n, "/status", "")
	case 2:
		p.inject(chat, n, "/new", "")
	default:
		prompt := fmt.Sprintf("Message %d of chat %d.", n, chat)
		p.inject(chat, n, p.scenario(chat, n)+prompt, prompt)
	}
}

// inject writes a message; the caller holds mu.
func (p *people) inject(chat int64, number int, text, prompt string) Place {
	in := p.sim.Inject(telegramsim.Incoming{ChatID: chat, Text: text})
	at := Place{chat, in.MessageID}
	p.said = append(p.said, Said{at, number, prompt})
	p.updates[at], p.open[at] = in.UpdateID, true
	return at
}

// scenario is the first line of a prompt: how Codex behaves.
func (p *people) scenario(chat int64, number int) string {
	switch n := p.random.IntN(10); {
	case n < 3 || p.slow:
		return fmt.Sprintf("!scenario slow FAKE_CODEX_DELAY=%d\n", 20+p.random.IntN(280))
	case n < 4:
		return fmt.Sprintf("!scenario grandchild FAKE_CODEX_DELAY=%d FAKE_CODEX_PID_FILE=%s/%d-%d\n", p.random.IntN(500), p.files, chat, number)
	}
	return ""
}

// listen takes in what the bot sends, until ctx ends.
func (p *people) listen(ctx context.Context) {
	for m := range p.sim.Follow(ctx, 0) {
		p.hear(m)
	}
}

func (p *people) hear(m telegramsim.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := Place{m.ChatID, m.ReplyTo}
	turns := buttons(m.ReplyMarkup)
	if notice(m.Text) {
		return
	}
	if turns == "" {
		delete(p.open, at)
		delete(p.undone, at)
		return
	}
	if p.asked[turns] {
		return // it came twice
	}
	p.asked[turns] = true
	p.open[at] = true
	delete(p.undone, at)
	r := rand.New(rand.NewPCG(p.seed, digest(turns)))
	p.due = append(p.due, question{time.Now().Add(between(r, 0, 2*time.Second)), at, m.MessageID, turns})
}

// buttons is the turn that a message's buttons are about; empty: it has none.
func buttons(markup json.RawMessage) string {
	var keyboard struct {
		Rows [][]struct {
			Data string `json:"callback_data"`
		} `json:"inline_keyboard"`
	}
	if json.Unmarshal(markup, &keyboard) != nil || len(keyboard.Rows) == 0 || len(keyboard.Rows[0]) == 0 {
		return ""
	}
	_, turn, _ := strings.Cut(keyboard.Rows[0][0].Data, ":")
	return turn
}

func digest(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // never fails
	return h.Sum64()
}

// decideDue answers the questions whose time has come.
func (p *people) decideDue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	due := slices.DeleteFunc(slices.Clone(p.due), func(q question) bool { return q.at.After(now) })
	p.due = slices.DeleteFunc(p.due, func(q question) bool { return !q.at.After(now) })
	for _, q := range due {
		p.decide(q)
	}
}

// decide answers a question, in one of four cases by a command, else with a
// button; now and then another button is pressed as well, which is too late. The
// caller holds mu.
func (p *people) decide(q question) {
	r := rand.New(rand.NewPCG(p.seed, ^digest(q.turn)))
	choice := p.choices[r.IntN(len(p.choices))]
	if r.IntN(4) == 0 {
		p.numbers[q.place.Chat]++
		p.inject(q.place.Chat, p.numbers[q.place.Chat], "/"+choice, "")
		p.decided = append(p.decided, Decision{Place{Chat: q.place.Chat}, choice})
		p.undone[q.place] = q
		return
	}
	p.press(q.place, q.message, q.turn, choice)
	if r.IntN(5) == 0 {
		p.sim.InjectCallback(telegramsim.Callback{ChatID: q.place.Chat, MessageID: q.message, Data: p.choices[r.IntN(len(p.choices))] + ":" + q.turn})
	}
}

// press presses a button; the caller holds mu.
func (p *people) press(at Place, message int64, turn, choice string) {
	p.sim.InjectCallback(telegramsim.Callback{ChatID: at.Chat, MessageID: message, Data: choice + ":" + turn})
	p.decided = append(p.decided, Decision{at, choice})
	if choice == Drop {
		delete(p.open, at)
	}
}

// insist decides, with buttons, about what commands were meant for and have not
// reached: they may have met other interrupted turns of their chats.
func (p *people) insist() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.undone {
		p.press(q.place, q.message, q.turn, p.choices[0])
	}
	clear(p.undone)
}

// restart has the update ids begin anew elsewhere, as after a week of silence. It
// waits for that silence, and says false when there is none in time.
func (p *people) restart(ctx context.Context) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	quiet, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// Alternating, so that ids come back that were used before.
	first := int64(50_000_000)
	if p.restarts%2 == 1 {
		first = 100_000_000
	}
	silent := func(s telegramsim.State) bool { return s.Pending == 0 }
	if _, err := p.sim.WaitForState(quiet, silent); err != nil {
		return false
	}
	// A message's date is a whole second; it is to be after all that was stored.
	sleep(ctx, 2*time.Second)
	if p.sim.SetNextUpdateID(first+p.random.Int64N(20)+1) != nil {
		return false
	}
	p.restarts++
	return true
}

// evidence is what people know.
func (p *people) evidence() Evidence {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Evidence{Said: slices.Clone(p.said), Decided: slices.Clone(p.decided), Heard: p.sim.Messages(0)}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
