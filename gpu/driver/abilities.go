package driver

import "errors"

// Errors that callers act on; back ends wrap them.
var (
	// ErrOutOfMemory says that the device has no memory left: fewer rows at a time may go through.
	ErrOutOfMemory = errors.New("out of device memory")
	// ErrDeviceLost says that the device, or this process's use of it, is broken: only a fresh process may do better.
	ErrDeviceLost = errors.New("device lost")
)

// Batcher is an optional ability of a Device: it computes best on that many images at a time. Without it that is 1.
type Batcher interface{ Batch() int }

// Graphs is an optional ability of a Stream: a sequence of operations recorded once and run by one call. Operations of work are
// recorded in place of being run; work must not allocate, transfer to or from the host, or wait.
type Graphs interface {
	Capture(work func() error) (Graph, error)
}

// Graph is a recorded sequence, bound to its stream and to the buffers that it names.
type Graph interface {
	Replay() error
	Free()
}

// Found is a device that a back end sees on this machine, not opened.
type Found struct {
	Name   string // as Open takes it: "cuda:1"
	Detail string // "NVIDIA H200, 141 GiB, compute capability 9.0"
	Fault  string // why it cannot be used; "" if it can
}

// Check is one thing that a back end needs, and what became of it on this machine.
type Check struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"` // what was found or tried
	Cure   string `json:"cure,omitempty"`   // what to do, unless it is fine
}

// State is the outcome of a check.
type State string

// The outcomes: fine; slower or less without it; nothing works without it.
const (
	Fine    State = "ok"
	Lacking State = "missing"
	Broken  State = "failed"
)
