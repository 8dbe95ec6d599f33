//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// stream is a CUDA stream with the memory that its operations need beside their operands.
type stream struct {
	dev *device
	s   cu.Stream

	work      uint64 // scratch
	workBytes int
	capturing bool
	graphs    bool     // some graph names addresses of scratch memory,
	outgrown  []uint64 // which stays then

	errRecord uint64 // a kernels.ErrorRecord
	checks    bool   // an operation since the last Sync may have written it

	in, out pinned
	copied  cu.Event // the last copy from in is done
	copying bool
}

// NewStream implements driver.Device.
func (d *device) NewStream() (driver.Stream, error) { return d.newStream() }

func (d *device) newStream() (*stream, error) {
	if err := d.alive(); err != nil {
		return nil, err
	}
	s := &stream{dev: d}
	err := d.ctx.Do(func() (err error) {
		if s.s, err = cu.MakeStream(cu.NonBlocking); err != nil {
			return err
		}
		s.copied, err = cu.MakeEvent(cu.DisableTiming)
		return err
	})
	if err == nil {
		s.errRecord, err = d.take(recordBytes)
	}
	if err == nil {
		err = d.ctx.MemsetD8Async(s.errRecord, 0, recordBytes, s.s)
	}
	if err != nil {
		return nil, d.failed(fmt.Errorf("new stream: %w", err))
	}
	return s, nil
}

const recordBytes = int(unsafe.Sizeof(kernels.ErrorRecord{}))

// launch enqueues a kernel; args are n bytes of one of the structs of package kernels.
func (s *stream) launch(k kernels.Kernel, grid [3]uint32, block, shared uint32, args unsafe.Pointer, n uintptr) error {
	d := s.dev
	if err := d.alive(); err != nil {
		return err
	}
	f, err := d.function(k)
	if err != nil {
		return err
	}
	if err := d.ctx.Launch(f, grid, block, shared, s.s, args, n); err != nil {
		return d.failed(fmt.Errorf("launch %s over %v blocks of %d: %w", k.Name, grid, block, err))
	}
	return nil
}

// scratch is device memory until the next call of this stream.
func (s *stream) scratch(bytes int) (uint64, error) {
	if bytes <= s.workBytes {
		return s.work, nil
	}
	if s.capturing {
		return 0, errors.New("cuda: an operation needs more scratch memory while it is recorded than before")
	}
	if s.graphs && s.work != 0 {
		s.outgrown = append(s.outgrown, s.work)
	} else { // operations that still run use the old memory; freeing waits for them
		s.dev.give(s.work, s.workBytes)
	}
	s.work, s.workBytes = 0, 0
	p, err := s.dev.take(bytes)
	if err == nil {
		s.work, s.workBytes = p, bytes
	}
	return p, err
}

// Sync implements driver.Stream. It also reports what kernels noted: an id out of range.
func (s *stream) Sync() error {
	d := s.dev
	if err := d.alive(); err != nil {
		return err
	}
	if !s.checks {
		return d.failed(d.ctx.StreamSync(s.s))
	}
	s.checks = false
	var record kernels.ErrorRecord
	if err := s.fetch(unsafe.Pointer(&record), s.errRecord, recordBytes); err != nil {
		return err
	}
	op, position, id, found := record.Found()
	if !found {
		return nil
	}
	if err := d.ctx.MemsetD8Async(s.errRecord, 0, recordBytes, s.s); err != nil {
		return d.failed(err)
	}
	return fmt.Errorf("cuda: %s: id %d at %d, want 0 to %d", op, id, position, record.Limit-1)
}

// Close implements driver.Stream.
func (s *stream) Close() error {
	d := s.dev
	errs := []error{d.ctx.StreamSync(s.s), s.in.free(d.ctx), s.out.free(d.ctx)}
	for _, p := range s.outgrown {
		d.give(p, 0)
	}
	d.give(s.work, s.workBytes)
	d.give(s.errRecord, recordBytes)
	errs = append(errs, d.ctx.Do(func() error { return cu.DestroyEvent(&s.copied) }), d.ctx.Do(s.s.Destroy))
	if d.lost.Load() != nil {
		return nil
	}
	return errors.Join(errs...)
}

// Capture implements driver.Graphs.
func (s *stream) Capture(work func() error) (driver.Graph, error) {
	if err := s.dev.alive(); err != nil {
		return nil, err
	}
	s.capturing = true
	defer func() { s.capturing = false }()
	g, err := s.dev.ctx.Capture(s.s, work)
	if err != nil {
		return nil, s.dev.failed(fmt.Errorf("record a graph: %w", err))
	}
	s.graphs = true
	return &graph{s, g, s.checks}, nil
}

// graph is a recorded sequence of launches.
type graph struct {
	stream *stream
	graph  ext.Graph
	checks bool
}

func (g *graph) Replay() error {
	s := g.stream
	if err := s.dev.alive(); err != nil {
		return err
	}
	s.checks = s.checks || g.checks
	return s.dev.failed(g.graph.Replay(s.s))
}

func (g *graph) Free() { _ = g.graph.Destroy() }

// flag is the address of the error record, for an operation that may write it; the next Sync looks there.
func (s *stream) flag() uint64 {
	s.checks = true
	return s.errRecord
}
