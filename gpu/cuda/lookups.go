//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"fmt"

	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// Lookup notes ids outside the table on the device; Sync reports them.
func (s *stream) Lookup(y, table, ids driver.View, cols int) error {
	return s.lookup(kernels.LookupArgs{Y: ref(y), Table: ref(table), IDs: ref(ids).Ptr, N: int64(ids.N), Cols: int64(cols),
		Stride: int64(cols), Limit: int64(table.N / cols), Op: kernels.OpLookup})
}

func (s *stream) LookupMatrix(y driver.View, table driver.Matrix, ids driver.View) error {
	m := table.(*matrix)
	return s.lookup(kernels.LookupArgs{Y: ref(y), Table: m.ref(), IDs: ref(ids).Ptr, N: int64(ids.N),
		Cols: int64(m.cols), Stride: int64(m.ld), Limit: int64(m.rows), Op: kernels.OpLookupMatrix})
}

func (s *stream) lookup(args kernels.LookupArgs) error {
	if args.N == 0 {
		return nil
	}
	args.Err = s.flag()
	return run(s, kernels.Lookup, eights(int(args.N), int(args.Cols)), flatThreads, 0, &args)
}

func (s *stream) ScatterRows(y, x, to, from driver.View, cols int) error {
	if to.N == 0 {
		return nil
	}
	args := kernels.ScatterRowsArgs{Y: ref(y), X: ref(x), To: ref(to).Ptr, From: ref(from).Ptr, Err: s.flag(), N: int64(to.N),
		Cols: int64(cols), ToLimit: int64(y.N / cols), FromLimit: int64(x.N / cols)}
	return run(s, kernels.ScatterRows, eights(to.N, cols), flatThreads, 0, &args)
}

// Nearest rounds every step to float16, as the published float16 tokenizer does, where x is stored in float16.
func (s *stream) Nearest(ids, x driver.View, table driver.Matrix, norms driver.View) error {
	return s.nearest(ids, x, table, norms, ref(x).Type == kernels.F16)
}

// nearest is Nearest; with half, every step is rounded to float16 as the published float16 tokenizer does.
func (s *stream) nearest(ids, x driver.View, table driver.Matrix, norms driver.View, half bool) error {
	if ids.N == 0 {
		return nil
	}
	const most = 48 << 10 // bytes of shared memory that every kernel may have
	m := table.(*matrix)
	shared := kernels.NearestShared(m.cols)
	if shared > most {
		return fmt.Errorf("cuda: nearest: vectors of %d elements, at most %d fit", m.cols, most/kernels.NearestShared(1))
	}
	args := kernels.NearestArgs{X: ref(x), Table: m.ref(), Norms: ref(norms), IDs: ref(ids).Ptr,
		N: int64(ids.N), Rows: int64(m.rows), Cols: int64(m.cols), Stride: int64(m.ld)}
	if half {
		args.Half = 1
	}
	blocks := (ids.N + kernels.NearestRows - 1) / kernels.NearestRows
	return run(s, kernels.Nearest, [3]uint32{uint32(blocks), 1, 1}, kernels.NearestThreads, uint32(shared), &args)
}

func (s *stream) Patches(y, images, table driver.View, n, size, patch int) error {
	values := ref(table)
	if values.Type != kernels.F32 {
		return errors.New("cuda: patches: the table of values is not float32")
	}
	const most = 1 << 15 // images of one launch: the y side of a grid ends at 65535
	grid := eights(1, size*size*3)
	for first := 0; first < n; first += most {
		grid[1] = uint32(min(most, n-first))
		args := kernels.PatchesArgs{Y: ref(y), Pixels: ref(images).Ptr, Table: values.Ptr, Size: uint32(size), Patch: uint32(patch),
			First: uint32(first)}
		if err := run(s, kernels.Patches, grid, flatThreads, 0, &args); err != nil {
			return err
		}
	}
	return nil
}
