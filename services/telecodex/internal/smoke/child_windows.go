package smoke

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup keeps the terminal's signals from the program.
func ownGroup(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// interrupt ends the program: there is no signal that asks it to. Its worker's
// job object ends what it started.
func interrupt(process *os.Process) error { return process.Kill() }

// killGroup has nothing to do: see interrupt.
func killGroup(*os.Process) {}
