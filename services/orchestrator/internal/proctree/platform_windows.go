package proctree

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// killedCode is the exit code TerminateJobObject gives: what a Unix shell reports for SIGKILL.
const killedCode = 128 + 9

var errLinuxOnly = errors.New("containment modes exist on Linux only")

// platform is the Windows side of a Supervisor. It needs no notes: a job's processes die with its last handle, and so with the worker.
type platform struct{}

func openPlatform(opts Options) (*platform, error) {
	if opts.Mode != Auto {
		return nil, errLinuxOnly
	}
	return &platform{}, nil
}

func (p *platform) containment() string { return "job-object" }
func (p *platform) close() error        { return nil }

func (p *platform) start(path string, spec Spec, stdio endpoints) (child, error) {
	handle, err := newJob()
	if err != nil {
		return nil, &SpawnError{Kind: Refused, Err: fmt.Errorf("job object: %w", err)}
	}
	// Suspended, so that it starts nothing before it is in the job; in a console group of its own, so that CTRL_BREAK is for it alone.
	process, err := os.StartProcess(path, append([]string{path}, spec.Args...), &os.ProcAttr{
		Dir:   spec.Dir,
		Env:   append([]string{}, spec.Env...), // not nil, which would mean the worker's
		Files: []*os.File{stdio.stdin, stdio.stdout, stdio.stderr},
		Sys:   &syscall.SysProcAttr{CreationFlags: windows.CREATE_SUSPENDED | windows.CREATE_NEW_PROCESS_GROUP},
	})
	if err != nil {
		_ = windows.CloseHandle(handle)
		return nil, &SpawnError{Kind: createKind(err), Err: err}
	}
	if err = enlist(handle, process); err == nil {
		err = resume(process.Pid)
	}
	if err != nil {
		_ = process.Kill()
		_, _ = process.Wait()
		_ = windows.CloseHandle(handle)
		return nil, &SpawnError{Kind: Refused, Err: fmt.Errorf("job object: %w", err)}
	}
	return &job{process: process, handle: handle}, nil
}

// createKind reads the error of CreateProcess.
func createKind(err error) SpawnKind {
	switch {
	case errors.Is(err, windows.ERROR_FILE_NOT_FOUND), errors.Is(err, windows.ERROR_PATH_NOT_FOUND):
		return NotFound
	case errors.Is(err, windows.ERROR_ACCESS_DENIED), errors.Is(err, windows.ERROR_BAD_EXE_FORMAT),
		errors.Is(err, windows.ERROR_EXE_MACHINE_TYPE_MISMATCH):
		return NotExecutable
	default:
		return Refused
	}
}

// newJob makes a job whose processes die with its last handle.
func newJob() (windows.Handle, error) {
	handle, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(handle, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		_ = windows.CloseHandle(handle)
		return 0, err
	}
	return handle, nil
}

func enlist(handle windows.Handle, process *os.Process) (err error) {
	open := process.WithHandle(func(own uintptr) {
		err = windows.AssignProcessToJobObject(handle, windows.Handle(own))
	})
	return errors.Join(open, err)
}

// resume lets the threads of a process that was created suspended run. The package os does not hand out the thread's handle.
func resume(pid int) error {
	snapshot, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(snapshot) }()
	entry := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	for err = windows.Thread32First(snapshot, &entry); err == nil; err = windows.Thread32Next(snapshot, &entry) {
		if entry.OwnerProcessID != uint32(pid) {
			continue
		}
		thread, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, entry.ThreadID)
		if err != nil {
			return err
		}
		_, err = windows.ResumeThread(thread)
		_ = windows.CloseHandle(thread)
		return err
	}
	return err
}

// job is a child and its descendants.
type job struct {
	process *os.Process

	mu     sync.Mutex
	handle windows.Handle // 0 once wait has closed it: handles and PIDs are reused
	killed bool
}

func (j *job) interrupt() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.handle == 0 {
		return nil
	}
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(j.process.Pid))
}

func (j *job) kill() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.handle == 0 {
		return nil
	}
	j.killed = true
	return windows.TerminateJobObject(j.handle, killedCode)
}

func (j *job) wait() Exit {
	state, err := j.process.Wait()
	_ = windows.TerminateJobObject(j.handle, killedCode)
	err = errors.Join(err, emptied(func() (int, error) { return active(j.handle) }))
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = windows.CloseHandle(j.handle)
	j.handle = 0
	switch {
	case err != nil:
		return Exit{Code: -1, Err: err}
	case j.killed && state.ExitCode() == killedCode:
		return Exit{Code: -1, Signal: "SIGKILL"}
	default:
		return Exit{Code: state.ExitCode()}
	}
}

// accounting is JOBOBJECT_BASIC_ACCOUNTING_INFORMATION of winnt.h.
type accounting struct {
	totalUserTime, totalKernelTime, periodUserTime, periodKernelTime int64
	pageFaults, total, active, terminated                            uint32
}

// active counts the processes that are left in the job.
func active(handle windows.Handle) (int, error) {
	var now accounting
	err := windows.QueryInformationJobObject(handle, windows.JobObjectBasicAccountingInformation,
		uintptr(unsafe.Pointer(&now)), uint32(unsafe.Sizeof(now)), nil)
	return int(now.active), err
}
