package jobserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

func attributes(cmd *exec.Cmd) *syscall.SysProcAttr {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	return cmd.SysProcAttr
}

// ownGroup keeps a terminal's Ctrl-C away from a process: its parent decides. A cancelled command ends with all its children.
func ownGroup(cmd *exec.Cmd) {
	attributes(cmd).Setpgid = true
	if cmd.Cancel != nil {
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	}
}

// ownSession lets a process live on without this one and its terminal.
func ownSession(cmd *exec.Cmd) { attributes(cmd).Setsid = true }

// EndWithThread kills a process when the thread that starts it ends, and so when this process is killed.
func EndWithThread(cmd *exec.Cmd) { attributes(cmd).Pdeathsig = syscall.SIGKILL }

func terminate(pid int) { syscall.Kill(pid, syscall.SIGTERM) }

// killGroup kills the group that a process leads: the server and the workers that it started.
func killGroup(pid int) { syscall.Kill(-pid, syscall.SIGKILL) }

// Alive reports whether a process runs; one that has ended and was not waited for does not.
func Alive(pid int) bool {
	state, _ := stat(pid)
	return state != 0 && state != 'Z' && state != 'X'
}

// begun is when a process started, in ticks since the system did; 0 if there is none.
func begun(pid int) uint64 {
	_, ticks := stat(pid)
	return ticks
}

// stat reads the state and the start of a process; its name, in parentheses, may hold anything.
func stat(pid int) (state byte, ticks uint64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const start = 22 - 3 // numbered from 1 in proc(5), and the first two are cut off
	if len(fields) <= start {
		return 0, 0
	}
	ticks, _ = strconv.ParseUint(string(fields[start]), 10, 64)
	return fields[0][0], ticks
}
