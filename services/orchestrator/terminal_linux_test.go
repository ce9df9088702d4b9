package orchestrator_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"telecodex.dev/services/orchestrator"
)

// terminal is a pseudo-terminal: what is written to screen can be read from eyes.
func terminal(t *testing.T) (screen, eyes *os.File) {
	t.Helper()
	eyes, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(eyes.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(eyes.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		screen, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(errors.Join(err, eyes.Close()))
	}
	return screen, eyes
}

func TestOnATerminalOneLineShowsHowTheWorkerEmpties(t *testing.T) {
	w := start(t)
	turn := w.begin(request("t1", "hang"), 2)
	screen, eyes := terminal(t)
	defer eyes.Close()
	status := make(chan int, 1)
	go func() {
		defer screen.Close()
		status <- orchestrator.Main(t.Context(), []string{"drain", "--patience", "3600", "--listen-addr", w.addr},
			func(string) (string, bool) { return "", false }, screen, screen)
	}()
	var seen strings.Builder
	for buffer := make([]byte, 256); !strings.Contains(seen.String(), "59m5"); { // the time that is left runs
		n, err := eyes.Read(buffer)
		if err != nil {
			t.Fatalf("%q: %v", seen.String(), err)
		}
		seen.Write(buffer[:n])
	}
	w.cancelTurn("t1")
	w.end(turn)
	for buffer := make([]byte, 256); ; {
		n, err := eyes.Read(buffer) // an error once nobody has the screen any more
		seen.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	text := seen.String()
	if <-status != 0 || !strings.Contains(text, "\r\x1b[Kdraining: 1 turn runs, for 1h0m0s at most\r\x1b[Kdraining: 1 turn runs, for 59m5") ||
		!strings.HasSuffix(text, "its next start\r\n") || strings.Count(text, "\n") != 1 {
		t.Errorf("it shows %q", text)
	}
}
