//go:build !linux

package jobserver

import (
	"errors"
	"os/exec"
)

// ErrNoNamespace means that this system has no private networks.
var ErrNoNamespace = errors.New("flink: a private network needs Linux")

// StartPrivate starts what command makes in a network of its own.
func StartPrivate(func() *exec.Cmd) (*exec.Cmd, string, error) { return nil, "", ErrNoNamespace }

// LoopbackUp makes the loopback interface of a new network usable.
func LoopbackUp() error { return ErrNoNamespace }
