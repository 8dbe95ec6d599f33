package estimate

import (
	"math"
	"math/rand/v2"
	"testing"

	"sower/internal/encode"
	"sower/internal/plan"
	"sower/schemas"
)

func planOf(units int, rowsEach, bytesEach int64, exact bool) *plan.Plan {
	p := &plan.Plan{Units: units, Exact: exact}
	for u := range units {
		p.Rows = append(p.Rows, schemas.PlanRow{Unit: int32(u), Bytes: bytesEach, Rows: rowsEach})
		p.Bytes += bytesEach
		p.Known += rowsEach
	}
	return p
}

// sampleOf takes rows from units whose cost differs by the given spread.
func sampleOf(r *rand.Rand, units, rows int, spread float64) *encode.Estimate {
	s := &encode.Estimate{}
	for range units {
		f := math.Exp(spread * r.NormFloat64())
		u := encode.UnitSample{Rows: rows, Read: 0.002 * f * float64(rows), Prepare: 0.006 * f * float64(rows), Encode: 0.1 * f * float64(rows), OutputBytes: 90 * f * float64(rows), InputBytes: 30_000 * f * float64(rows)}
		s.Units = append(s.Units, u)
		s.Rows += u.Rows
		s.Encoded += u.Rows
		s.Read += u.Read
		s.Prepare += u.Prepare
		s.Encode += u.Encode
		s.OutputBytes += u.OutputBytes
		s.InputBytes += u.InputBytes
	}
	k := float64(s.Rows)
	s.Read, s.Prepare, s.Encode, s.OutputBytes, s.InputBytes = s.Read/k, s.Prepare/k, s.Encode/k, s.OutputBytes/k, s.InputBytes/k
	return s
}

func near(a, b, share float64) bool { return math.Abs(a-b) <= share*math.Abs(b) }

// TestArithmetic holds an estimate without any chance in it to numbers worked out by hand: 10,000 rows at 0.104 s on two cores.
func TestArithmetic(t *testing.T) {
	s := sampleOf(rand.New(rand.NewPCG(1, 1)), 8, 32, 0)
	s.Load = 36
	p := planOf(100, 100, 3_000_000, true)
	o := Options{Workers: 8, GPUs: 2, Cores: 2, Prices: Prices{Hour: 3, GBMonth: 1000, Reads: 1e6, Writes: 2e6}}
	e, err := Of(p, false, 50, s, o)
	if err != nil {
		t.Fatal(err)
	}
	seconds := 10_000 * (0.008/2 + 0.1)
	hours := seconds/3600/8*(13.0*8/100) + 0.01 // the busiest of 8 workers has 13 of 100 units; 36 s to load
	for name, v := range map[string][2]float64{
		"rows": {e.Rows.Value, 10_000}, "row": {e.RowSeconds.Value, 0.104}, "hours": {e.Hours.Value, hours}, "worker-hours": {e.WorkerHours.Value, 8 * hours}, "GPU-hours": {e.GPUHours.Value, 16 * hours},
		"output": {e.OutputBytes.Value, 900_000}, "workers' price": {e.Money.Compute.Value, 24 * hours}, "storage": {e.Money.Month.Value, 0.9},
		"requests' price": {e.Money.Requests, float64(e.Requests.Reads + 2*(e.Requests.Writes+e.Requests.List))}, "total": {e.Money.Total.Value, e.Money.Compute.Value + e.Money.Requests},
		"low": {e.WorkerHours.Low, e.WorkerHours.Value}, "high": {e.WorkerHours.High, e.WorkerHours.Value},
	} {
		if !near(v[0], v[1], 1e-9) {
			t.Errorf("%s: %v, want %v", name, v[0], v[1])
		}
	}
	if e.Requests.Writes < 200 || e.Requests.Writes > 210 || e.Requests.Reads < 100*(1+1+1) || e.Requests.List < 1 {
		t.Errorf("%+v", e.Requests)
	}
	o.Rate = 500
	if e, err = Of(p, false, 50, s, o); err != nil || !near(e.RowSeconds.Value, 0.002, 1e-9) || e.RowSeconds.Low != e.RowSeconds.High {
		t.Errorf("at a rate: %+v, %v", e, err)
	}
	// Formats that do not tell rows, and documents.
	if e, err = Of(planOf(100, -1, 3_000_000, false), false, 50, s, o); err != nil || !near(e.Rows.Value, 10_000, 1e-9) || e.RowsExact {
		t.Errorf("by bytes: %+v, %v", e, err)
	}
	s.Documents = s.Rows / 4
	if e, err = Of(p, true, 50, s, o); err != nil || !near(e.Rows.Value, 40_000, 1e-9) || e.RowsExact {
		t.Errorf("documents: %+v, %v", e, err)
	}
	for _, bad := range []Options{{Workers: 0, Cores: 1}, {Workers: 1, Cores: 1, Rate: math.NaN()}, {Workers: 1, Cores: 1, Prices: Prices{Hour: -1}}} {
		if _, err := Of(p, false, 1, s, bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	if e, err = Of(p, false, 1, &encode.Estimate{}, o); err != nil || math.IsNaN(e.Hours.Value) || math.IsNaN(e.Money.Total.High) {
		t.Errorf("an empty sample: %+v, %v", e, err)
	}
}

// TestIntervalsHold draws samples from inputs whose units differ and counts how often the truth lies in the interval: 95 % is promised,
// and a skewed population costs a little of it.
func TestIntervalsHold(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	const spread, tries = 0.3, 2000
	truth := math.Exp(spread * spread / 2) // mean of the log-normal factor
	p := planOf(1000, 100, 3_000_000, true)
	held, heldBytes := 0, 0
	for range tries {
		s := sampleOf(r, 8, 8+r.IntN(8), spread)
		e, err := Of(p, false, 1, s, Options{Workers: 1, Cores: 2})
		if err != nil {
			t.Fatal(err)
		}
		if want := 0.104 * truth; e.RowSeconds.Low <= want && want <= e.RowSeconds.High {
			held++
		}
		if want := 100_000 * 90 * truth; e.OutputBytes.Low <= want && want <= e.OutputBytes.High {
			heldBytes++
		}
	}
	for what, n := range map[string]int{"time of a row": held, "output": heldBytes} {
		if share := float64(n) / tries; share < 0.91 || share > 0.98 {
			t.Errorf("%s: the interval holds in %.1f %% of samples, want about 95", what, 100*share)
		}
	}
}

func TestSampledIsSpread(t *testing.T) {
	for _, units := range []int{1, 3, 8, 1001} {
		got := Sampled(planOf(units, 1, 1, true), 8)
		if len(got) != min(units, 8) {
			t.Fatalf("%d units: %d in the sample", units, len(got))
		}
		last := int32(-1)
		for _, u := range got {
			if len(u) != 1 || u[0].Unit <= last {
				t.Errorf("%d units: %+v after %d", units, u, last)
			}
			last = u[0].Unit
		}
	}
}
