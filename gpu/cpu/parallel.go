package cpu

// rangeTask runs a function on ranges of n items, step at a time.
type rangeTask struct {
	pieces
	items, step int
	f           func(w *worker, from, to int)
}

func (t *rangeTask) run(w *worker) {
	for i, ok := t.take(); ok; i, ok = t.take() {
		t.f(w, i*t.step, min((i+1)*t.step, t.items))
	}
}

// each runs f on ranges of n items of so many elements each, shared among the threads in pieces of some 16 Ki elements.
// What a range computes must not depend on where it begins and ends.
func (s *stream) each(n, elements int, f func(w *worker, from, to int)) {
	t := &s.ranges
	t.items, t.step, t.f = n, max(1, 1<<14/max(elements, 1)), f
	t.set((n + t.step - 1) / t.step)
	s.run(t, t.n, true)
	t.f = nil
}
