// Gen writes the AVX2 assembly of package cpu. Run it with "go generate" in gpu/cpu; the result is committed, so that
// building Sower needs neither this program nor avo.
//
// It is a module of its own: avo stays out of Sower's dependencies.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("amd64,!purego")
	tile()
	packRows()
	packCols()
	transpose()
	add()
	gelu()
	tanh()
	softmax()
	layerNorm()
	Generate()
}
