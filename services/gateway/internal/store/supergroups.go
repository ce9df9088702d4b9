package store

import (
	"context"
	"sync"
)

// supergroups are the groups that have become supergroups, which are other chats. They
// are few, and asked for with every update.
type supergroups struct {
	mu   sync.RWMutex
	to   map[int64]supergroup // by the group
	from map[int64]int64      // by the supergroup
}

// supergroup is what has become of a group.
type supergroup struct {
	from, to  int64
	continued bool // its sessions go on there
}

func (m *supergroups) add(all ...supergroup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.to == nil {
		m.to, m.from = map[int64]supergroup{}, map[int64]int64{}
	}
	for _, one := range all {
		m.to[one.from], m.from[one.to] = one, one.from
	}
}

// ChatNow is where a chat is to be found now: itself, or the supergroup that has
// taken the place of the group.
func (s *Store) ChatNow(chatID int64) int64 {
	s.supergroups.mu.RLock()
	defer s.supergroups.mu.RUnlock()
	if m, ok := s.supergroups.to[chatID]; ok {
		return m.to
	}
	return chatID
}

// Origin is the group whose place a supergroup has taken; 0: none.
func (s *Store) Origin(chatID int64) int64 {
	s.supergroups.mu.RLock()
	defer s.supergroups.mu.RUnlock()
	return s.supergroups.from[chatID]
}

// Conversation is the chat by which the sessions of a chat are named: itself, or
// the group whose sessions go on in it.
func (s *Store) Conversation(chatID int64) int64 {
	s.supergroups.mu.RLock()
	defer s.supergroups.mu.RUnlock()
	if from, ok := s.supergroups.from[chatID]; ok && s.supergroups.to[from].continued {
		return from
	}
	return chatID
}

// Migrate notes that a group has become a supergroup. What waits to be sent to the
// group goes there, no longer as a reply: messages have other ids there. Its
// sessions go on there, unless the supergroup has some of its own already.
// Migrating again changes nothing.
func (s *Store) Migrate(ctx context.Context, from, to int64) error {
	if from == to || s.ChatNow(from) == to {
		return nil
	}
	m := supergroup{from: from, to: to}
	err := s.write(ctx, func(q *tx) error {
		if err := q.row(`SELECT count(*) = 0 FROM sessions WHERE bot_id = $1 AND chat_id = $2`, q.bot, to).Scan(&m.continued); err != nil {
			return err
		}
		if err := q.exec(`INSERT INTO chats (bot_id, chat_id, blocked_until, blocked_at, migrated_to, continued, drafts_refused)
			VALUES ($1, $2, 0, 0, $3, $4, 0)
			ON CONFLICT (bot_id, chat_id) DO UPDATE SET migrated_to = excluded.migrated_to, continued = excluded.continued`,
			q.bot, from, to, flag(m.continued)); err != nil {
			return err
		}
		if err := q.exec(`UPDATE sessions SET chat_id = $3 WHERE bot_id = $1 AND chat_id = $2`, q.bot, from, to); err != nil {
			return err
		}
		return q.exec(`UPDATE outbox SET chat_id = $3, reply_to = 0 WHERE bot_id = $1 AND chat_id = $2 AND done_at = 0`, q.bot, from, to)
	})
	if err == nil {
		s.supergroups.add(m)
	}
	return err
}

// supergroups reads what has become of groups.
func (q *tx) supergroups() ([]supergroup, error) {
	return collect(q, func(row scanner) (m supergroup, err error) { return m, row.Scan(&m.from, &m.to, &m.continued) },
		`SELECT chat_id, migrated_to, continued FROM chats WHERE bot_id = $1 AND migrated_to <> 0`, q.bot)
}
