//go:build cuda && linux && cgo

package cuda

import (
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

func attentionArgs(a driver.AttentionArgs) kernels.AttentionArgs {
	args := kernels.AttentionArgs{Q: refStrided(a.Q), K: refStrided(a.K), V: refStrided(a.V), Starts: ref(a.Starts),
		QBatch: int64(a.Q.Batch), QHead: int64(a.Q.Head), QRow: int64(a.Q.Row),
		KBatch: int64(a.K.Batch), KHead: int64(a.K.Head), KRow: int64(a.K.Row),
		VBatch: int64(a.V.Batch), VHead: int64(a.V.Head), VRow: int64(a.V.Row),
		Batch: int32(a.Batch), Heads: int32(a.Heads), Group: 1, TQ: int32(a.Tq), TK: int32(a.Tk), Width: int32(a.Width), Scale: a.Scale}
	if a.KVHeads > 0 {
		args.Group = int32(a.Heads / a.KVHeads)
	}
	if a.Causal {
		args.Causal = 1
	}
	return args
}

// attentionGrid is a block for each head, tile of rows and group of columns.
func attentionGrid(heads, rows, width int) [3]uint32 {
	tiles, groups := (rows+kernels.AttentionTile-1)/kernels.AttentionTile, (width+kernels.AttentionColumns-1)/kernels.AttentionColumns
	return [3]uint32{uint32(heads * tiles * groups), 1, 1}
}

// Attention runs on tensor cores where operands are of 16 bits and lie so that 16 bytes of them can be moved at once, and
// there is a kernel for the width; else in float32.
func (s *stream) Attention(a driver.AttentionArgs) error {
	if a.Batch == 0 || a.Heads == 0 || a.Tq == 0 || a.Width == 0 {
		return nil
	}
	args := attentionArgs(a)
	args.Y, args.YBatch, args.YHead, args.YRow = refStrided(a.Y), int64(a.Y.Batch), int64(a.Y.Head), int64(a.Y.Row)
	if k := attentionMMA(&args); k != nil {
		return s.attentionMMA(k, args)
	}
	args.Narrow = s.dev.precision
	return run(s, kernels.Attention, attentionGrid(a.Batch*a.Heads, a.Tq, a.Width), kernels.AttentionThreads, 0, &args)
}

// attentionMMA is the kernel on tensor cores for these operands, if there is one. A row's softmax is taken whole where its
// scores fit registers; the kernel that keeps up with keys as they come is lighter where it holds all of them, and needed
// where there are more.
func attentionMMA(a *kernels.AttentionArgs) *kernels.AttentionMMA {
	t := a.Q.Type
	if a.K.Type != t || a.V.Type != t || !(a.Scale > 0) || a.TK == 0 {
		return nil
	}
	if (a.Q.Ptr|a.K.Ptr|a.V.Ptr)%16 != 0 || (a.QBatch|a.QHead|a.QRow|a.KBatch|a.KHead|a.KRow|a.VBatch|a.VHead|a.VRow)%8 != 0 {
		return nil
	}
	var running, whole *kernels.AttentionMMA
	for i, k := range kernels.AttentionByWidth[t][int(a.Width)] {
		if k.Whole {
			whole = &kernels.AttentionByWidth[t][int(a.Width)][i]
		} else {
			running = &kernels.AttentionByWidth[t][int(a.Width)][i]
		}
	}
	switch {
	case running != nil && int(a.TK) <= running.Keys:
		return running
	case whole != nil && int(a.TK) <= whole.Keys:
		return whole
	}
	return running
}

func (s *stream) attentionMMA(k *kernels.AttentionMMA, a kernels.AttentionArgs) error {
	const warps = 4 // each has a tile of 16 queries at a time
	args := kernels.AttentionMMAArgs{AttentionArgs: a}
	tiles, heads := (int(a.TQ)+15)/16, int(a.Batch)*int(a.Heads)
	per := warps
	if k.Whole && heads >= fewBlocks { // keys are loaded once for all queries of a head
		per = tiles
	}
	args.Tiles, args.Splits = int32(per), int32((tiles+per-1)/per)
	return run(s, k.Kernel, [3]uint32{uint32(heads * int(args.Splits)), 1, 1}, kernels.AttentionMMAThreads,
		uint32(k.Shared(int(a.Width), int(a.TK))), &args)
}

// AttentionGrad computes in float32.
func (s *stream) AttentionGrad(a driver.AttentionGradArgs) error {
	if a.Batch == 0 || a.Heads == 0 || a.Width == 0 {
		return nil
	}
	args := kernels.AttentionGradArgs{AttentionArgs: attentionArgs(a.AttentionArgs),
		DY: refStrided(a.DY), DQ: refStrided(a.DQ), DK: refStrided(a.DK), DV: refStrided(a.DV),
		DYBatch: int64(a.DY.Batch), DYHead: int64(a.DY.Head), DYRow: int64(a.DY.Row),
		DQBatch: int64(a.DQ.Batch), DQHead: int64(a.DQ.Head), DQRow: int64(a.DQ.Row),
		DKBatch: int64(a.DK.Batch), DKHead: int64(a.DK.Head), DKRow: int64(a.DK.Row),
		DVBatch: int64(a.DV.Batch), DVHead: int64(a.DV.Head), DVRow: int64(a.DV.Row)}
	var err error
	if args.Stats, err = s.scratch(max(1, a.Batch*a.Heads*a.Tq) * 16); err != nil {
		return err
	}
	if a.Tq > 0 {
		if err := run(s, kernels.AttentionGradQueries, attentionGrid(a.Batch*a.Heads, a.Tq, a.Width), kernels.AttentionThreads, 0, &args); err != nil {
			return err
		}
	}
	if a.Tk == 0 {
		return nil
	}
	return run(s, kernels.AttentionGradKeys, attentionGrid(a.Batch*a.Heads/int(args.Group), a.Tk, a.Width), kernels.AttentionThreads, 0, &args)
}
