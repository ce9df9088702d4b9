//go:build unix

package smoke

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup keeps the terminal's signals from the program.
func ownGroup(command *exec.Cmd) { command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// interrupt asks the program to stop.
func interrupt(process *os.Process) error { return process.Signal(os.Interrupt) }

// killGroup ends what a program that had to be killed has left.
func killGroup(leader *os.Process) { _ = syscall.Kill(-leader.Pid, syscall.SIGKILL) } // mostly it left nothing
