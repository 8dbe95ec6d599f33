package evaluate

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"sower/internal/evaluate/retrieval"
)

// Page is the report as one static HTML page with plots, and with a grid of pictures if there is one (PNG). It needs nothing else.
func (r *Report) Page(grid []byte) ([]byte, error) {
	data := map[string]any{"Report": r, "Usage": bars(usageCurve(r.counts)), "Grid": template.URL("")}
	if t := r.Retrieval; t != nil {
		var points [2][][2]float64
		for _, p := range t.Prefixes {
			points[0] = append(points[0], [2]float64{float64(p.Codes), p.Embedding})
			points[1] = append(points[1], [2]float64{float64(p.Codes), p.Decoded})
		}
		data["Prefixes"] = curves(points[:], []string{"embedding", "codes"})
	}
	if len(grid) > 0 {
		data["Grid"] = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(grid))
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("evaluate: page: %w", err)
	}
	return b.Bytes(), nil
}

var page = template.Must(template.New("page").Funcs(template.FuncMap{"one": func(v float64) string { return fmt.Sprintf("%.1f", v) },
	"two": func(v float64) string { return fmt.Sprintf("%.2f", v) }, "of": func(v *float64) string { return fmt.Sprintf("%.2f", *v) }}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Tokenizer: {{.Report.Model}}</title>
<style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right}
td:first-child,th:first-child{text-align:left}tr{border-bottom:1px solid #ddd}svg{max-width:100%}img{max-width:100%;image-rendering:pixelated}</style></head><body>
<h1>Tokenizer {{.Report.Model}}</h1>
<p>{{.Report.Images}} images, {{.Report.Rejected}} rejected; weights {{printf "%.12s" .Report.Weights}}.</p>
{{with .Report.Retrieval}}<h2>Retrieval</h2>
<p>Among {{.Gallery}} pairs; recall in percent. Codes keep {{two .Share}} of the embedding's mean.</p>
<table><tr><th></th><th colspan="3">image to text @1 @5 @10</th><th colspan="3">text to image @1 @5 @10</th><th>mean</th></tr>
{{range $name, $b := .Rows}}<tr><td>{{$name}}</td><td>{{one $b.ImageToText.At1}}</td><td>{{one $b.ImageToText.At5}}</td><td>{{one $b.ImageToText.At10}}</td><td>{{one $b.TextToImage.At1}}</td><td>{{one $b.TextToImage.At5}}</td><td>{{one $b.TextToImage.At10}}</td><td>{{one $b.Mean}}</td></tr>
{{end}}</table>
<h2>What the first codes say</h2><p>Image to text, recall at 1, by the number of codes.</p>{{end}}
{{.Prefixes}}
<h2>Codes</h2>
{{with .Report.Usage}}<p>{{.Used}} of {{.Codes}} used, {{.Dead}} not; perplexity {{one .Perplexity}}; {{two .Bits}} bits a code by its place, {{two .BitsOfAll}} without. {{.Distinct}} images have codes of their own.</p>{{end}}
<p>How often each code occurs, the commonest first:</p>
{{.Usage}}
<h2>Reconstruction</h2>
{{with .Report.Reconstruction}}<p>Embeddings from codes: cosine {{two .Cosine}}.{{if .PSNR}} Pictures from codes: PSNR {{of .PSNR}} dB, SSIM {{of .SSIM}}; before quantization {{of .PSNRz}} dB, {{of .SSIMz}}.{{end}}</p>{{end}}
{{if .Grid}}<p>Pictures, and below each what its codes say:</p><img alt="pictures and their reconstructions" src="{{.Grid}}">{{end}}
</body></html>
`))

// Rows are the lines of the table, by name.
func (t *Retrieval) Rows() map[string]retrieval.Both {
	rows := map[string]retrieval.Both{"codes": t.Decoded, "embedding": t.Embedding}
	if t.DecodedZ != nil {
		rows["before quantization"] = *t.DecodedZ
	}
	return rows
}

const (
	plotWidth, plotHeight = 640, 220
	plotLeft, plotBottom  = 44, 24
)

// usageCurve is counts in descending order.
func usageCurve(counts []int64) []float64 {
	sorted := slices.Clone(counts)
	slices.SortFunc(sorted, func(a, b int64) int { return int(b - a) })
	out := make([]float64, len(sorted))
	for i, n := range sorted {
		out[i] = float64(n)
	}
	return out
}

func frame(b *strings.Builder, most float64, across string) {
	fmt.Fprintf(b, `<svg viewBox="0 0 %d %d" role="img"><g font-size="11" fill="#444"><text x="4" y="14">%.0f</text><text x="4" y="%d">0</text><text x="%d" y="%d">%s</text></g>`+
		`<path d="M%d 8V%dH%d" stroke="#888" fill="none"/>`, plotWidth, plotHeight, most, plotHeight-plotBottom, plotWidth-150, plotHeight-6, across, plotLeft, plotHeight-plotBottom, plotWidth-8)
}

// bars plots values side by side.
func bars(values []float64) template.HTML {
	if len(values) == 0 {
		return ""
	}
	var b strings.Builder
	most := max(slices.Max(values), 1)
	frame(&b, most, fmt.Sprintf("%d codes", len(values)))
	step := float64(plotWidth-plotLeft-8) / float64(len(values))
	b.WriteString(`<path fill="#36c" d="`)
	for i, v := range values {
		h := v / most * (plotHeight - plotBottom - 8)
		fmt.Fprintf(&b, "M%.2f %d h%.2f v%.2f h%.2f z", plotLeft+float64(i)*step, plotHeight-plotBottom, step, -h, -step)
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String())
}

// curves plots lines of points over a common axis.
func curves(lines [][][2]float64, names []string) template.HTML {
	var b strings.Builder
	most, right := 1.0, 1.0
	for _, line := range lines {
		for _, p := range line {
			most, right = max(most, p[1]), max(right, p[0])
		}
	}
	frame(&b, most, fmt.Sprintf("%.0f codes", right))
	for i, line := range lines {
		color := []string{"#36c", "#c63"}[i%2]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, color)
		for _, p := range line {
			fmt.Fprintf(&b, "%.1f,%.1f ", plotLeft+p[0]/right*(plotWidth-plotLeft-8), plotHeight-plotBottom-p[1]/most*(plotHeight-plotBottom-8))
		}
		fmt.Fprintf(&b, `"/><text x="%d" y="%d" font-size="12" fill="%s">%s</text>`, plotLeft+12+110*i, 20, color, names[i])
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}
