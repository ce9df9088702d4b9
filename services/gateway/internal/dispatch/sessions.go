package dispatch

import (
	"container/list"
	"context"
	"time"
)

// residents are the sessions without work that this process still remembers, the
// latest first. Nothing is lost with one that is evicted: its thread, its worker
// and its messages are in the store, and its next message finds them there.
type residents struct {
	max   int           // 0: no bound
	idle  time.Duration // 0: for ever
	order *list.List    // of resident
	known map[string]*list.Element
	chats map[int64]int // residents by chat
}

type resident struct {
	session string
	chat    int64
	since   time.Time // it has no work
}

func newResidents(limit int, idle time.Duration) residents {
	return residents{max: limit, idle: idle, order: list.New(), known: map[string]*list.Element{}, chats: map[int64]int{}}
}

// add remembers a session that has no work now.
func (s *residents) add(session string, chat int64, now time.Time) {
	s.remove(session)
	s.known[session] = s.order.PushFront(resident{session, chat, now})
	s.chats[chat]++
}

// remove forgets a session, and says whether it was the last of its chat.
func (s *residents) remove(session string) (chat int64, last bool) {
	e := s.known[session]
	if e == nil {
		return 0, false
	}
	r := s.order.Remove(e).(resident)
	delete(s.known, session)
	if s.chats[r.chat]--; s.chats[r.chat] > 0 {
		return r.chat, false
	}
	delete(s.chats, r.chat)
	return r.chat, true
}

// evict forgets the sessions that are too many or were idle for too long, and
// returns the chats that none is left of.
func (s *residents) evict(now time.Time) (chats []int64) {
	for e := s.order.Back(); e != nil; e = s.order.Back() {
		r := e.Value.(resident)
		if (s.max == 0 || s.order.Len() <= s.max) && (s.idle == 0 || now.Sub(r.since) < s.idle) {
			break
		}
		if chat, last := s.remove(r.session); last {
			chats = append(chats, chat)
		}
	}
	return chats
}

// Held is how many lanes have work, and how many sessions without work are
// remembered.
func (m *Manager) Held() (lanes, idle int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.lanes), m.idle.order.Len()
}

// rest notes that a session has no work. Where its lane has some by now, or looks for
// it, the lane does so when it ends.
func (m *Manager) rest(session string, chat int64) {
	m.mu.Lock()
	if r := m.lanes[session]; r != nil {
		r.chat = chat
	} else {
		m.idle.add(session, chat, time.Now())
	}
	m.mu.Unlock()
	m.evict()
}

func (m *Manager) evict() {
	m.mu.Lock()
	chats := m.idle.evict(time.Now())
	m.mu.Unlock()
	if m.Evicted == nil {
		return
	}
	for _, chat := range chats {
		m.Evicted(chat)
	}
}

// evictIdle evicts sessions whose time is over, soon after it is.
func (m *Manager) evictIdle(ctx context.Context) error {
	if m.SessionIdle <= 0 {
		return nil
	}
	tick := time.NewTicker(min(max(m.SessionIdle/4, 10*time.Millisecond), time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			m.evict()
		}
	}
}
