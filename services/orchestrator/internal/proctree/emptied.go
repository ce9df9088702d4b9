//go:build darwin || windows

package proctree

import (
	"fmt"
	"time"
)

// blindGrace is for how long the system may fail to tell who is left.
const blindGrace = time.Second

// emptied calls look until it says that nobody is left. That the system fails to tell does not mean nobody: look is called again,
// and its error returned only when it lasts.
func emptied(look func() (left int, err error)) error {
	for deadline := time.Now().Add(blindGrace); ; time.Sleep(time.Millisecond) {
		left, err := look()
		switch {
		case err == nil && left == 0:
			return nil
		case err == nil:
			deadline = time.Now().Add(blindGrace)
		case time.Now().After(deadline):
			return fmt.Errorf("look for descendants: %w", err)
		}
	}
}
