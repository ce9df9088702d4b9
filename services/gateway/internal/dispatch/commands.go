package dispatch

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"telecodex.dev/services/gateway/internal/cycle"
	"telecodex.dev/services/gateway/internal/render"
	"telecodex.dev/services/gateway/internal/store"
	"telecodex.dev/services/internal/crashpoint"
	"telecodex.dev/services/internal/lifecycle"
)

// commands are the updates that are handled at once, beside the lanes.
type commands struct {
	wanted   bool // some may wait
	running  bool // a goroutine handles them
	handling map[store.Key]bool
	cancels  map[store.Key]*order // by the update to be stopped
}

// runCommands handles the stored commands, oldest first, until none is left. A
// /cancel waits for its turn by itself, so that it holds nothing up.
func (m *Manager) runCommands(ctx context.Context) error {
	defer m.change(func() { m.commands.running = false })
	for pause := firstPause; ctx.Err() == nil; {
		list, err := m.Store.Commands(ctx)
		for i := 0; err == nil && i < len(list) && ctx.Err() == nil; i++ {
			err = m.handle(ctx, list[i])
		}
		if store.Fenced(err) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			m.Log.Error("commands could not be handled", zap.Error(err))
			lifecycle.Sleep(ctx, pause)
			pause = min(2*pause, lastPause)
			continue
		}
		again := false
		m.change(func() { again, m.commands.wanted = m.commands.wanted, false })
		if !again {
			return nil
		}
	}
	return nil
}

// handle carries out one command.
func (m *Manager) handle(ctx context.Context, u store.Update) error {
	switch u.Kind {
	case store.KindEcho:
		return m.answer(ctx, u, answers("echo: "+u.Text, u.MessageID))
	case store.KindHelp:
		return m.answer(ctx, u, say(store.Reply, render.Help(), u.MessageID))
	case store.KindStatus:
		status, err := m.status(ctx, u.SessionID)
		if err != nil {
			return err
		}
		return m.answer(ctx, u, say(store.Reply, render.Status(status), u.MessageID))
	case store.KindResolve:
		return m.decide(ctx, u)
	case store.KindCancel:
		return m.cancel(ctx, u)
	}
	m.Log.Error("unknown command", zap.String("kind", string(u.Kind)))
	return m.answer(ctx, u, nil)
}

// answer settles a command.
func (m *Manager) answer(ctx context.Context, u store.Update, messages []store.Message) error {
	longer, cancel := lifecycle.Outlive(ctx, store.LastWrite)
	defer cancel()
	if err := m.Store.SettleCommand(longer, u.Key, false, messages); err != nil {
		return err
	}
	crashpoint.Here(crashpoint.Commanded)
	m.rest(u.SessionID, u.ChatID)
	if len(messages) > 0 {
		m.Posted(u.ChatID)
	} else {
		m.settled(u.Key, u.SessionID, store.Outcome{})
		m.traceUpdate(u.Key, u.Kind, "answered", u.ReceivedAt)
	}
	return nil
}

// cancel stops the turn that was running, or first to run, when the command was
// received. Which one that is stands in the store: asking again after a crash
// stops no other.
func (m *Manager) cancel(ctx context.Context, u store.Update) error {
	if m.Workers == nil { // it waits as the turns do
		return nil
	}
	target, ok, err := m.Store.CancelTarget(ctx, u.Key)
	if err != nil {
		return err
	}
	if !ok || !target.EndedAt.IsZero() {
		return m.answer(ctx, u, say(store.Reply, cancelText(target, ok), u.MessageID))
	}
	if !m.take(u.Key) {
		return nil
	}
	o := m.ordered(target)
	// It may have ended before it was registered; then nobody closes the order.
	now, ok, err := m.Store.CancelTarget(ctx, u.Key)
	if err != nil || !ok || !now.EndedAt.IsZero() {
		m.cancelDone(target.Key)
	}
	m.group.Go(func(ctx context.Context) error { m.awaitCancel(ctx, u, o); return nil })
	return err
}

// awaitCancel has a /cancel handled again once its turn has ended: then it is
// answered.
func (m *Manager) awaitCancel(ctx context.Context, u store.Update, o *order) {
	select {
	case <-ctx.Done():
	case <-o.done:
	}
	m.mu.Lock()
	left := o.left
	m.mu.Unlock()
	if left && ctx.Err() == nil { // else the program ends, and no worker is to blame
		m.left(u.Key, u.SessionID, cycle.CodexExecFailed, unreachableMessage)
	}
	m.change(func() {
		delete(m.commands.handling, u.Key)
		m.commands.wanted = m.commands.wanted || !left
	})
}

// decide carries out a decision about an interrupted turn. Which one that is
// stands in the store: deciding again after a crash decides about no other.
func (m *Manager) decide(ctx context.Context, u store.Update) error {
	if u.CallbackID != "" && !m.take(u.Key) {
		return nil
	}
	text, err := m.decision(ctx, u)
	switch {
	case u.CallbackID == "" && err == nil:
		return m.answer(ctx, u, say(store.Reply, text, u.MessageID))
	case err == nil:
		m.press(u, text)
	case u.CallbackID != "":
		m.change(func() { delete(m.commands.handling, u.Key) })
	}
	return err
}

// take notes that a command is being handled beside the others; false: it was
// already.
func (m *Manager) take(key store.Key) (taken bool) {
	m.change(func() { taken, m.commands.handling[key] = !m.commands.handling[key], true })
	return taken
}

// decision decides and returns what the person is told.
func (m *Manager) decision(ctx context.Context, u store.Update) (string, error) {
	t, ok, err := m.Store.Turn(ctx, u.TurnID)
	if err != nil {
		return "", err
	}
	if !ok || t.SessionID != u.SessionID { // nobody decides for another chat
		return render.NothingInterrupted(), nil
	}
	resolved, err := m.Resolve(ctx, t.ID, u.Text)
	if refused := (*store.StateError)(nil); errors.As(err, &refused) {
		return render.NothingInterrupted(), nil
	}
	if err != nil {
		return "", err
	}
	return decidedText(resolved), nil
}

// press ends the wait of a pressed button, which no other command waits for. Telegram
// takes that for a short time only: later, and whenever it does not take it, the
// person is told in a message.
func (m *Manager) press(u store.Update, text string) {
	m.group.Go(func(ctx context.Context) error {
		var messages []store.Message
		if m.Pressed(ctx, u.CallbackID, text) != nil {
			messages = say(store.Reply, text, u.MessageID)
		}
		var err error
		if ctx.Err() == nil { // else it is handled again at the next start
			if err = m.answer(ctx, u, messages); err != nil && !store.Fenced(err) {
				m.Log.Error("a pressed button could not be settled", zap.Error(err))
				lifecycle.Sleep(ctx, firstPause)
			}
		}
		m.change(func() {
			delete(m.commands.handling, u.Key)
			m.commands.wanted = m.commands.wanted || err != nil
		})
		if store.Fenced(err) {
			return err
		}
		return nil
	})
}

// Resolve decides about an interrupted turn: store.Resume, store.Again or
// store.Drop. An earlier decision stays. Errors: *store.StateError when the turn
// waits for no decision.
func (m *Manager) Resolve(ctx context.Context, turnID, choice string) (store.Resolved, error) {
	t, _, err := m.Store.Turn(ctx, turnID)
	if err != nil {
		return store.Resolved{}, err
	}
	d := store.Decision{Choice: choice, Shown: render.InterruptedThen(decisionOf(choice))}
	if choice == store.Resume {
		d.Prompt = resumePrompt(t)
	}
	resolved, err := m.Store.Resolve(ctx, turnID, d)
	crashpoint.Here(crashpoint.Resolved)
	if err == nil && resolved.Applied && choice == store.Drop {
		m.traceUpdate(t.Key, t.Kind, "dropped", t.ReceivedAt)
	}
	if err == nil && resolved.Applied {
		m.Decided()
	}
	if err == nil { // what waited for the decision may go on, too
		m.Wake([]string{t.SessionID}, false)
	}
	return resolved, err
}

// Move lets another worker have a session, and says whether it did; see
// store.MoveSession. What waits in the session looks for a place there.
func (m *Manager) Move(ctx context.Context, move store.Move) (applied bool, err error) {
	if applied, err = m.Store.MoveSession(ctx, move); applied {
		m.Meter.Moved(store.Moved)
		m.Log.Info("session moved", zap.String("session", move.SessionID), zap.String("from", move.From), zap.String("to", move.To),
			zap.String("thread", move.ThreadID), zap.String("last_turn", move.LastTurnID))
		m.Wake([]string{move.SessionID}, false)
	}
	return applied, err
}
