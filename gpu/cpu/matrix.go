package cpu

import "fmt"

// matrix is a weight [rows][cols] packed as panels of the kernels that multiply it: [rows/width][steps][width]. What is
// beyond rows and cols is 0.
type matrix struct {
	*kernels
	rows, cols, k int // k: steps of a sum over cols
	panels        []float32
}

func newMatrix(k *kernels, rows, cols int) *matrix {
	steps := k.steps(cols)
	return &matrix{kernels: k, rows: rows, cols: cols, k: steps, panels: aligned(roundUp(rows, k.width) * steps)}
}

func (m *matrix) SetRows(row int, data []float32) error {
	n := len(data) / m.cols
	switch {
	case row%m.width != 0:
		return fmt.Errorf("cpu: set rows from row %d, want a multiple of %d", row, m.width)
	case n%m.width != 0 && row+n != m.rows:
		return fmt.Errorf("cpu: set %d rows, want a multiple of %d or all to the end", n, m.width)
	}
	p := packer{kernels: m.kernels}
	p.panels(m.panels[row*m.k:], data, m.cols, 0, n, m.cols, true)
	return nil
}

func (m *matrix) Free() { m.panels = nil }
