// Gen/arm64 writes the arm64 assembly of package cpu: the kernels of the AVX2 path with two registers of 4 lanes where
// AVX2 has one of 8, in the same order of operations, so that both give the same bits. Run it with "go generate" in
// gpu/cpu; the result is committed.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("out", "", "the assembly `file`")
	stubs := flag.String("stubs", "", "the Go `file` that declares the kernels")
	flag.Parse()
	g := new(gen)
	g.tiles()
	g.peak()
	g.packRow()
	g.packCols()
	g.transpose()
	g.packTransposed()
	g.add()
	g.gelu()
	g.tanh()
	g.softmax()
	g.layerNorm()
	g.tables()
	for name, text := range map[string]string{*out: g.assembly(), *stubs: g.declarations()} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "gen/arm64:", err)
			os.Exit(1)
		}
	}
}
