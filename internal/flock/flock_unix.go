//go:build unix

// Package flock locks open files between processes: until they are closed, also by the end of the process.
package flock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Try locks an open file or folder, alone or shared with others who share. false: somebody holds it. An error says that the file
// system, or the system, has no locks for it.
func Try(f *os.File, shared bool) (bool, error) {
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}

// Share turns a lock that is held alone into a shared one.
func Share(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return nil
}
