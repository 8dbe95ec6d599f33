// Package estimate says what encoding an input will cost, from the plan and a sample of rows: hours, bytes, requests to the store, and
// money at prices that the user gives.
package estimate

import (
	"errors"
	"fmt"
	"math"

	"sower/internal/encode"
	"sower/internal/plan"
	"sower/schemas"
)

// Prices are the user's own, in whatever money. A zero price leaves its line out.
type Prices struct {
	Hour    float64 `json:"hour"`     // of one worker, its GPUs included
	GBMonth float64 `json:"gb_month"` // of 10⁹ bytes of output stored for a month
	Reads   float64 `json:"reads"`    // of a million requests that read
	Writes  float64 `json:"writes"`   // of a million requests that write or list
}

// Options say what is estimated.
type Options struct {
	Workers int
	// Rate is the images a second of one worker as measured elsewhere; 0 takes the sample's, of this machine.
	Rate   float64
	GPUs   int // of a worker
	Cores  int // of this machine, which the sample's reading and preparing use
	Prices Prices
}

// Validate names what cannot be.
func (o *Options) Validate() error {
	var errs []error
	if o.Workers < 1 || o.GPUs < 0 || o.Cores < 1 {
		errs = append(errs, fmt.Errorf("estimate: %d workers of %d GPUs on %d cores: want at least 1 worker", o.Workers, o.GPUs, o.Cores))
	}
	for name, v := range map[string]float64{"rate": o.Rate, "price of an hour": o.Prices.Hour, "price of a GB and month": o.Prices.GBMonth, "price of reads": o.Prices.Reads, "price of writes": o.Prices.Writes} {
		if !(v >= 0) || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("estimate: %s %v: want 0 or more", name, v))
		}
	}
	return errors.Join(errs...)
}

// Range is a value with the bounds between which it lies with 95 % confidence, as far as the sample tells: Low = High = Value where nothing
// was sampled.
type Range struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

func (r Range) times(f float64) Range { return Range{r.Value * f, r.Low * f, r.High * f} }

// spread is a value that is off by the share e of it at most.
func spread(value, e float64) Range { return Range{value, value * max(0, 1-e), value * (1 + e)} }

// Requests to a store that has no folders and bills each call.
type Requests struct {
	List   int64 `json:"list"`
	Reads  int64 `json:"reads"`
	Writes int64 `json:"writes"`
}

// Money by what it is paid for.
type Money struct {
	Compute  Range   `json:"compute"`
	Requests float64 `json:"requests"`
	Total    Range   `json:"total"`             // of the run: compute and requests
	Month    Range   `json:"storage_per_month"` // of the output
}

// Estimate is the result.
type Estimate struct {
	Rows      Range `json:"rows"`
	RowsExact bool  `json:"rows_exact"`
	Units     int   `json:"units"`
	// RowSeconds is the time of an image on one worker.
	RowSeconds Range `json:"row_seconds"`
	// Hours are those of the whole run, WorkerHours and GPUHours those that are paid for.
	Hours       Range    `json:"hours"`
	WorkerHours Range    `json:"worker_hours"`
	GPUHours    Range    `json:"gpu_hours"`
	OutputBytes Range    `json:"output_bytes"`
	Requests    Requests `json:"requests"`
	Money       Money    `json:"money"`
}

// Of estimates a run over plan p of which s is a sample. files is the number of input files.
func Of(p *plan.Plan, documents bool, files int, s *encode.Estimate, o Options) (*Estimate, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := &Estimate{Units: p.Units, RowsExact: p.Exact && !documents}
	cores := float64(o.Cores)
	// Reading and preparing use all cores, and so does the model: on a CPU they add up.
	cost := func(u encode.UnitSample) float64 { return (u.Read+u.Prepare)/cores + u.Encode }
	rows := func(u encode.UnitSample) float64 { return float64(u.Rows) }
	switch {
	case e.RowsExact:
		e.Rows = spread(float64(p.Known), 0)
	case documents && p.Exact && s.Documents > 0: // the plan counts documents, the sample says how many images they have
		e.Rows = spread(float64(p.Known)*float64(s.Rows)/float64(s.Documents), ratioError(s.Units, rows, func(encode.UnitSample) float64 { return 1 }))
	case s.InputBytes > 0: // formats that do not tell their rows before reading
		e.Rows = spread(float64(p.Bytes)/s.InputBytes, ratioError(s.Units, func(u encode.UnitSample) float64 { return u.InputBytes }, rows))
	}
	count := relative(e.Rows)
	e.RowSeconds = spread((s.Read+s.Prepare)/cores+s.Encode, ratioError(s.Units, cost, rows))
	if o.Rate > 0 {
		e.RowSeconds = spread(1/o.Rate, 0)
	}
	e.OutputBytes = spread(e.Rows.Value*s.OutputBytes, both(count, ratioError(s.Units, func(u encode.UnitSample) float64 { return u.OutputBytes }, rows)))
	work := spread(e.Rows.Value*e.RowSeconds.Value/3600, both(count, relative(e.RowSeconds)))
	// A worker has whole units, and loads the model once.
	workers := min(o.Workers, max(p.Units, 1))
	uneven := 1.0
	if p.Units > 0 {
		uneven = math.Ceil(float64(p.Units)/float64(workers)) * float64(workers) / float64(p.Units)
	}
	e.Hours = work.times(uneven / float64(workers))
	load := s.Load / 3600
	e.Hours = Range{e.Hours.Value + load, e.Hours.Low + load, e.Hours.High + load}
	e.WorkerHours = e.Hours.times(float64(workers))
	e.GPUHours = e.WorkerHours.times(float64(o.GPUs))
	e.Requests = requests(p, documents, files, int64(e.Rows.Value*s.Outside), e.OutputBytes.Value)
	e.Money.Compute = e.WorkerHours.times(o.Prices.Hour)
	e.Money.Requests = (float64(e.Requests.Reads)*o.Prices.Reads + float64(e.Requests.Writes+e.Requests.List)*o.Prices.Writes) / 1e6
	c := e.Money.Compute
	e.Money.Total = Range{c.Value + e.Money.Requests, c.Low + e.Money.Requests, c.High + e.Money.Requests}
	e.Money.Month = e.OutputBytes.times(o.Prices.GBMonth / 1e9)
	return e, nil
}

func relative(r Range) float64 {
	if r.Value == 0 {
		return 0
	}
	return r.High/r.Value - 1
}

// both is the error of a product.
func both(a, b float64) float64 { return math.Hypot(a, b) }

// ratioError is half the width of the 95 % interval of Σy/Σx, as a share of it: the units are a sample of clusters, so that the
// variance is that of the residuals of units about the common ratio (Cochran, Sampling Techniques, ch. 6). One unit says nothing about
// the others: the error is then 1.
func ratioError(units []encode.UnitSample, y, x func(encode.UnitSample) float64) float64 {
	var sx, sy, n float64
	for _, u := range units {
		if u.Rows > 0 {
			sx += x(u)
			sy += y(u)
			n++
		}
	}
	switch {
	case n == 0 || sx == 0 || sy == 0:
		return 0
	case n == 1:
		return 1
	}
	ratio, ss := sy/sx, 0.0
	for _, u := range units {
		if u.Rows > 0 {
			d := y(u) - ratio*x(u)
			ss += d * d
		}
	}
	return studentT(int(n)-1) * math.Sqrt(ss/(n*(n-1))) / (sy / n)
}

// studentT is the 97.5 % quantile of Student's distribution.
func studentT(degrees int) float64 {
	table := []float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131}
	if degrees <= len(table) {
		return table[degrees-1]
	}
	return 1.96 + 2.5/float64(degrees)
}

// Sizes of requests as internal/blob makes them.
const (
	smallestRead = 256 << 10 // of reading in order, which grows to a quarter of what was read,
	largestRead  = 4 << 20   // at most to this
	writeChunk   = 8 << 20
	listPage     = 1000
)

// requests counts the calls of a run on an object store: what is read, committed and listed, without retries.
func requests(p *plan.Plan, documents bool, files int, outside int64, output float64) Requests {
	parts := int64(2)
	if documents {
		parts = 3
	}
	units := int64(p.Units)
	var r Requests
	for _, row := range p.Rows {
		r.Reads += 2 + blocks(row.Bytes) // open, look at the first bytes, read
	}
	r.Reads += 2 * outside     // open and read
	r.Reads += (5 + 1) * units // plan: footer, indexes and a page of each column in one block; and the part that is not there yet
	r.Writes = parts*units + int64(output/writeChunk) + 3
	r.List = (int64(files) + parts*units) / listPage
	r.List += 4
	return r
}

// blocks is the number of requests that read so many bytes in order.
func blocks(bytes int64) (n int64) {
	for at, size := int64(0), int64(smallestRead); at < bytes; n++ {
		at += size
		size = min(max(size, at/4), largestRead)
	}
	return n
}

// Sampled picks n units evenly over a plan.
func Sampled(p *plan.Plan, n int) [][]schemas.PlanRow {
	n = min(p.Units, n)
	at := map[int32]int{}
	for i := range n {
		at[int32(i*p.Units/n)] = i
	}
	out := make([][]schemas.PlanRow, n)
	for _, r := range p.Rows {
		if i, ok := at[r.Unit]; ok {
			out[i] = append(out[i], r)
		}
	}
	return out
}
