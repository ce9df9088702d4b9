// Package chaos runs the real programs, kills them wherever it hurts, has the
// simulated Telegram misbehave, and then asks from outside what became of every
// message that people wrote: what arrived in the chats, what Codex noted of each
// of its starts and ends, and which processes are left. Nothing of what the
// programs say about themselves counts, but for one figure: a message may arrive
// twice only where the gateway says that it was in doubt.
//
// A seed decides about everything that is injected. It replays the same
// schedule; what the operating system makes of it may differ.
package chaos
