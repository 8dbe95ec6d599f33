// Package cpu computes on the processor: "cpu", the back end for work, and "plain", the same operations as loops that can
// be read in a minute, in float64 inside, which "cpu" is tested against. Import it for its registration.
//
// On amd64 with AVX2 and FMA, and on arm64, the inner loops are assembly (kernels_amd64.s and kernels_arm64.s, written by
// gen and gen/arm64); elsewhere, and with the build tag purego, they are Go. Both are deterministic, and differ from one
// another in the last places. AVX2, AVX-512 and NEON give the same bits in float32: TestGolden holds them to that.
//
// # Why codes do not depend on the batch
//
// Every element of a matrix product is summed over k in one order: blocks of at most kBlock steps, split by the length of
// k alone, each one a chain of multiply-adds, the blocks' sums added in turn. A row at the edge of a tile is computed by
// the same kernel on zero-padded panels. Elementwise and row kernels finish a partial vector under a mask, with the same
// instructions. So neither the number of rows nor their place, nor which thread takes which tile, changes a bit.
package cpu

//go:generate sh -c "cd gen && go run . -out ../kernels_amd64.s -stubs ../stubs_amd64.go -pkg cpu"
//go:generate sh -c "cd gen && go run ./arm64 -out ../kernels_arm64.s -stubs ../stubs_arm64.go"
