// Gen writes the x86-64 assembly of package cpu. Run it with "go generate" in gpu/cpu; the result is committed, so that
// building Sower needs neither this program nor avo.
//
// It is a module of its own: avo stays out of Sower's dependencies.
package main

import (
	"flag"
	"fmt"
	"os"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	ConstraintExpr("amd64,!purego")
	tiles()
	peaks()
	packRow()
	packCols()
	transpose()
	packTransposed()
	narrow()
	pairCols()
	add()
	gelu()
	geluGrad()
	tanh()
	softmax()
	layerNorm()
	layerNormGrad()
	softmaxGrad()
	gate()
	gateGrad()
	Generate()
	if err := bf16(flag.Lookup("out").Value.String()); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
