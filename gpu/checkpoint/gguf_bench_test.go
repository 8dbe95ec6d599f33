package checkpoint

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// BenchmarkGGUFRead widens a matrix of a million elements of each type in parts of 32,768.
func BenchmarkGGUFRead(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, kind := range ggmlTypes {
		if kind.decode == nil {
			continue
		}
		t := &ggufTensor{info: Info{"w", kind.name, []int{1024, 1024}}, kind: kind, raw: make([]byte, 1<<20/kind.values*kind.bytes)}
		for i := range t.raw {
			t.raw[i] = byte(rng.IntN(math.MaxUint8))
		}
		b.Run(fmt.Sprint(kind.name), func(b *testing.B) {
			dst := make([]float32, 1<<15)
			b.SetBytes(4 << 20)
			for b.Loop() {
				for at := 0; at < 1<<20; at += len(dst) {
					if err := t.read(at, dst); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
