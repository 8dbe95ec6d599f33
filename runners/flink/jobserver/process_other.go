//go:build !linux

package jobserver

import (
	"os"
	"os/exec"
)

// Elsewhere than on Linux a process is ended alone, and by its parent only.
func ownGroup(*exec.Cmd)   {}
func ownSession(*exec.Cmd) {}
func terminate(pid int)    { killGroup(pid) }

func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		p.Kill()
	}
}

// EndWithThread does nothing here.
func EndWithThread(*exec.Cmd) {}

// Alive reports whether a process runs.
func Alive(pid int) bool {
	_, err := os.FindProcess(pid)
	return pid > 0 && err == nil
}

// begun is not known.
func begun(int) uint64 { return 0 }
