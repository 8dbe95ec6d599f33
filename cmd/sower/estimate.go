package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sower/internal/encode"
	"sower/internal/progress"
	"sower/schemas"
)

const (
	sampleRows  = 64
	sampleTime  = 15 * time.Second
	sampleUnits = 8
)

// estimate prints the plan and what a sample says about its cost.
func (o *encodeOptions) estimate(cmd *cobra.Command, p *prepared) error {
	e, err := encode.Sample(cmd.Context(), p.config, spread(p.plan.Rows, p.plan.Units), sampleRows, sampleTime)
	if err != nil {
		return err
	}
	rows := p.plan.Known
	if !p.plan.Exact && e.InputBytes > 0 { // formats that do not tell their rows before reading
		rows = int64(float64(p.plan.Bytes)/e.InputBytes + 0.5)
	}
	if p.config.Documents { // the plan counts documents, the sample says how many images they have
		if rows = 0; p.plan.Exact && e.Documents > 0 {
			rows = int64(float64(p.plan.Known)*float64(e.Rows)/float64(e.Documents) + 0.5)
		} else if e.InputBytes > 0 {
			rows = int64(float64(p.plan.Bytes)/e.InputBytes + 0.5)
		}
	}
	cores := float64(runtime.GOMAXPROCS(0))
	// Reading and preparing use all cores, and so does the model: on a CPU they add up.
	perRow := (e.Read+e.Prepare)/cores + e.Encode
	seconds := float64(rows) * perRow
	size := int64(float64(rows) * e.OutputBytes)
	sources := map[string]bool{}
	formats := map[string]int{}
	for _, r := range p.plan.Rows {
		if !sources[r.Source] {
			formats[r.Format]++
		}
		sources[r.Source] = true
	}
	w := cmd.OutOrStdout()
	if o.run.json {
		return writeJSON(w, map[string]any{"dry_run": true, "input": p.config.Input, "output": p.config.Output, "files": len(sources), "formats": formats,
			"units": p.plan.Units, "input_bytes": p.plan.Bytes, "rows": rows, "rows_exact": p.plan.Exact && !p.config.Documents, "identity": p.config.Identity,
			"sample": e, "estimated_seconds": seconds, "estimated_output_bytes": size})
	}
	about := "about "
	if p.plan.Exact && !p.config.Documents {
		about = ""
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var kinds []string
	for _, f := range slices.Sorted(maps.Keys(formats)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", f, formats[f]))
	}
	fmt.Fprintf(t, "input\t%s: files: %s; %s\n", p.config.Input, strings.Join(kinds, ", "), progress.Size(p.plan.Bytes))
	fmt.Fprintf(t, "rows\t%s%s in %d units\n", about, progress.Thousands(rows), p.plan.Units)
	fmt.Fprintf(t, "model\t%s (%s)\n", o.model, identityLine(p.config.Identity))
	fmt.Fprintf(t, "output\t%s\n", p.config.Output)
	fmt.Fprintf(t, "sample\t%d rows: %d encoded", e.Rows, e.Encoded)
	if e.Documents > 0 {
		fmt.Fprintf(t, " (of %d documents)", e.Documents)
	}
	for _, r := range schemas.Reasons {
		if n := e.Rejected[r]; n > 0 {
			fmt.Fprintf(t, ", %d %s", n, r)
		}
	}
	fmt.Fprintf(t, "\n\tread %.1f ms, decode and resize %.1f ms, encode %.1f ms a row; the model loads in %.1f s\n", 1e3*e.Read, 1e3*e.Prepare, 1e3*e.Encode, e.Load)
	if e.Rows > 0 {
		fmt.Fprintf(t, "estimate\t%s on this machine (%d cores), %s images/s, %s of Parquet\n", progress.Span(seconds+e.Load), runtime.GOMAXPROCS(0), progress.Rate(1/max(perRow, 1e-9)), progress.Size(size))
	} else {
		fmt.Fprint(t, "estimate\tnone: the sample has no rows\n")
	}
	t.Flush()
	fmt.Fprintln(w, "dry run: nothing was written")
	return nil
}

// spread picks units evenly over the plan.
func spread(rows []schemas.PlanRow, units int) [][]schemas.PlanRow {
	n := min(units, sampleUnits)
	byUnit := map[int32][]schemas.PlanRow{}
	for _, r := range rows {
		byUnit[r.Unit] = append(byUnit[r.Unit], r)
	}
	out := make([][]schemas.PlanRow, n)
	for i := range out {
		out[i] = byUnit[int32(i*units/n)]
	}
	return out
}
