package store

import "errors"

// Fenced reports whether an error says that another gateway has taken the bot
// over: the one that met it has to stop.
func Fenced(err error) bool {
	_, fenced := errors.AsType[*FencedError](err)
	return fenced
}
