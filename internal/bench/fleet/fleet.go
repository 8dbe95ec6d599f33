// Command fleet simulates an encoding run on many machines: how long it takes beyond the work itself when machines differ, some are slow
// and some fail. docs/scale.md has its figures.
//
//	go run ./internal/bench/fleet
//
// Units are dealt in one of several ways. Dynamic: whoever is free takes the next unit, as Dataflow does; a machine that fails loses the
// unit it is at, and another takes it. Dealt: every machine gets its units at the start, as Flink's subtasks do; a failure restarts the
// job, so that every machine loses the unit it is at, and finds those that are committed by looking. Dealt, alone: the same, but only the
// machine that failed begins again, as where Flink's exchanges are blocking. Helped is what Sower does not do: idle machines do units of
// others.
package main

import (
	"container/heap"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"text/tabwriter"
)

// Fleet is the machines and the work, in seconds.
type Fleet struct {
	Workers int
	Units   int
	Unit    float64 // of one unit on a machine of speed 1
	// UnitSpread and MachineSpread are the standard deviations of the logarithm of units' and machines' times.
	UnitSpread, MachineSpread float64
	// Slow is the share of machines that take SlowFactor times as long.
	Slow, SlowFactor float64
	MTBF             float64 // of one machine; 0 never fails
	Restart          float64 // until a machine, or the job, is at work again
	Skip             float64 // to find that a unit is committed
}

// Outcome is what a run came to.
type Outcome struct {
	Seconds  float64
	Ideal    float64 // the work, spread evenly over the machines by their speeds
	Lost     float64 // seconds of work that were thrown away
	Failures int
	Tail     float64 // from when 99 % of the units were done
	Finished bool
}

// give up after so many times the ideal time: such a run does not end.
const patience = 50

type machine struct {
	free  float64
	speed float64
	fails float64 // when it fails next
}

type machines []*machine

func (m machines) Len() int           { return len(m) }
func (m machines) Less(i, j int) bool { return m[i].free < m[j].free }
func (m machines) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *machines) Push(x any)        { *m = append(*m, x.(*machine)) }
func (m *machines) Pop() any {
	old := *m
	x := old[len(old)-1]
	*m = old[:len(old)-1]
	return x
}

// draw makes the machines and the units' times.
func (f *Fleet) draw(r *rand.Rand) (fleet machines, units []float64, ideal float64) {
	speeds := 0.0
	for range f.Workers {
		m := &machine{speed: math.Exp(f.MachineSpread * r.NormFloat64()), fails: math.Inf(1)}
		if r.Float64() < f.Slow {
			m.speed /= f.SlowFactor
		}
		speeds += m.speed
		fleet = append(fleet, m)
	}
	work := 0.0
	for range f.Units {
		u := f.Unit * math.Exp(f.UnitSpread*r.NormFloat64()-f.UnitSpread*f.UnitSpread/2)
		work += u
		units = append(units, u)
	}
	return fleet, units, work / speeds
}

func (f *Fleet) nextFailure(r *rand.Rand) float64 {
	if f.MTBF == 0 {
		return math.Inf(1)
	}
	return f.MTBF * r.ExpFloat64()
}

// Dynamic runs with units taken as machines become free.
func (f *Fleet) Dynamic(r *rand.Rand) Outcome {
	fleet, units, ideal := f.draw(r)
	o := Outcome{Ideal: ideal, Finished: true}
	for _, m := range fleet {
		m.fails = f.nextFailure(r)
	}
	heap.Init(&fleet)
	var ends []float64
	queue := units
	for len(queue) > 0 {
		m := fleet[0]
		u := queue[0] / m.speed
		switch {
		case m.fails <= m.free+u: // the unit goes back to the others
			begun := max(0, m.fails-m.free)
			o.Lost += begun
			o.Failures++
			m.free += begun + f.Restart
			m.fails = m.free + f.nextFailure(r)
		default:
			queue = queue[1:]
			m.free += u
			ends = append(ends, m.free)
		}
		heap.Fix(&fleet, 0)
		if fleet[0].free > patience*ideal {
			o.Finished = false
			break
		}
	}
	o.close(ends)
	return o
}

// Alone runs with the units dealt at the start; a machine that fails begins its own again.
func (f *Fleet) Alone(r *rand.Rand) Outcome {
	fleet, units, ideal := f.draw(r)
	o := Outcome{Ideal: ideal, Finished: true}
	var ends []float64
	for i, hand := range f.deal(units) {
		m, at, fails := fleet[i], 0.0, f.nextFailure(r)
		for done := 0; done < len(hand); {
			end := at + hand[done]/m.speed
			if end > fails {
				o.Lost += max(0, fails-at)
				o.Failures++
				at = max(at, fails) + f.Restart + f.Skip*float64(done)
				fails = at + f.nextFailure(r)
				if at > patience*ideal {
					o.Finished = false
					break
				}
				continue
			}
			at = end
			done++
			ends = append(ends, at)
		}
	}
	o.close(ends)
	return o
}

// Helped runs with the units dealt at the start; a machine that is done with its own does some of those that nobody has committed, from the
// upper half of their numbers, as machines go through theirs from below. Who comes to a unit that was done meanwhile finds it committed.
func (f *Fleet) Helped(r *rand.Rand) Outcome {
	fleet, units, ideal := f.draw(r)
	o := Outcome{Ideal: ideal, Finished: true}
	hands, at := make([][]int, f.Workers), make([]int, f.Workers)
	for u := range units {
		hands[u%f.Workers] = append(hands[u%f.Workers], u)
	}
	done, left := make([]bool, len(units)), make([]int, len(units)) // left: numbers not committed, ascending, cleaned up now and then
	for u := range left {
		left[u] = u
	}
	type job struct {
		*machine
		id, unit int
		begun    float64
	}
	jobs := map[*machine]*job{}
	for i, m := range fleet {
		m.fails = f.nextFailure(r)
		jobs[m] = &job{machine: m, id: i, unit: -1}
	}
	heap.Init(&fleet)
	var ends []float64
	for fleet.Len() > 0 {
		m := fleet[0]
		j, now := jobs[m], m.free
		if j.unit >= 0 && !done[j.unit] {
			done[j.unit] = true
			ends = append(ends, now)
		} else if j.unit >= 0 {
			o.Lost += now - j.begun // somebody was faster
		}
		hand := hands[j.id]
		for at[j.id] < len(hand) && done[hand[at[j.id]]] {
			at[j.id]++
			now += f.Skip
		}
		j.unit = -1
		if at[j.id] < len(hand) {
			j.unit = hand[at[j.id]]
		} else {
			if len(ends) > len(units)-len(left)+len(left)/4 {
				left = slices.DeleteFunc(left, func(u int) bool { return done[u] })
			}
			for tries := 0; tries < 64 && len(left) > 0 && len(ends) < len(units); tries++ {
				if u := left[len(left)/2+r.IntN(len(left)-len(left)/2)]; !done[u] {
					j.unit = u
					break
				}
				if tries == 63 {
					left = slices.DeleteFunc(left, func(u int) bool { return done[u] })
					tries = 0
				}
			}
		}
		if j.unit < 0 {
			o.Seconds = max(o.Seconds, now)
			heap.Pop(&fleet)
			continue
		}
		j.begun = now
		for end := now + units[j.unit]/m.speed; ; end = now + units[j.unit]/m.speed {
			if m.fails > end {
				m.free = end
				break
			}
			o.Lost += max(0, m.fails-now)
			o.Failures++
			now = max(now, m.fails) + f.Restart
			j.begun = now
			m.fails = now + f.nextFailure(r)
		}
		heap.Fix(&fleet, 0)
		if now > patience*ideal {
			o.Finished = false
			break
		}
	}
	all := o.Seconds
	o.close(ends)
	o.Seconds = max(all, o.Seconds)
	return o
}

// deal gives every machine its units.
func (f *Fleet) deal(units []float64) [][]float64 {
	hands := make([][]float64, f.Workers)
	for i, u := range units {
		hands[i%f.Workers] = append(hands[i%f.Workers], u)
	}
	return hands
}

// Dealt runs with the units dealt at the start and the job restarted by every failure.
func (f *Fleet) Dealt(r *rand.Rand) Outcome {
	fleet, units, ideal := f.draw(r)
	o := Outcome{Ideal: ideal, Finished: true}
	hands := f.deal(units)
	done := make([]int, f.Workers)
	var ends []float64
	now, left := 0.0, len(units)
	for left > 0 {
		fails := math.Inf(1)
		if f.MTBF > 0 {
			fails = now + f.MTBF/float64(f.Workers)*r.ExpFloat64() // the first of all machines
		}
		for i, m := range fleet {
			at := now
			if now > 0 { // after a restart it looks at what it has done
				at += f.Skip * float64(done[i])
			}
			for done[i] < len(hands[i]) && at < fails {
				end := at + hands[i][done[i]]/m.speed
				if end > fails {
					o.Lost += fails - at
					break
				}
				at = end
				done[i]++
				left--
				ends = append(ends, at)
			}
		}
		if left == 0 {
			break
		}
		o.Failures++
		if now = fails + f.Restart; now > patience*ideal {
			o.Finished = false
			break
		}
	}
	o.close(ends)
	return o
}

// close finds the end and the tail.
func (o *Outcome) close(ends []float64) {
	if len(ends) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(ends))
	o.Seconds = sorted[len(sorted)-1]
	o.Tail = o.Seconds - sorted[(len(sorted)-1)*99/100]
}

func main() {
	images := flag.Float64("images", 5e9, "images")
	rate := flag.Float64("rate", 400, "images a second of one worker")
	workers := flag.Int("workers", 1000, "machines")
	slow := flag.Float64("slow", 0.01, "share of machines that take twice as long")
	seed := flag.Uint64("seed", 1, "of the simulation")
	flag.Parse()
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "units\tminutes a unit\tMTBF h\tdealing\thours\tbeyond the work\tthrown away\tfailures\tlast 1 %% takes\n")
	for _, units := range []int{10_000, 37_000, 250_000} {
		for _, mtbf := range []float64{0, 5000, 500, 24} {
			for _, name := range []string{"dynamic", "dealt", "dealt, alone", "helped"} {
				f := Fleet{Workers: *workers, Units: units, Unit: *images / *rate / float64(units), UnitSpread: 0.1, MachineSpread: 0.05, Slow: *slow, SlowFactor: 2,
					MTBF: 3600 * mtbf, Restart: 120, Skip: 0.5}
				r := rand.New(rand.NewPCG(*seed, uint64(units)))
				o := map[string]func(*rand.Rand) Outcome{"dynamic": f.Dynamic, "dealt": f.Dealt, "dealt, alone": f.Alone, "helped": f.Helped}[name](r)
				mtbfText := "never fails"
				if mtbf > 0 {
					mtbfText = fmt.Sprint(mtbf)
				}
				hours, beyond, tail := fmt.Sprintf("%.2f", o.Seconds/3600), fmt.Sprintf("%.0f %%", 100*(o.Seconds/o.Ideal-1)), fmt.Sprintf("%.0f min", o.Tail/60)
				if !o.Finished {
					hours, beyond, tail = "does not end", "", ""
				}
				fmt.Fprintf(t, "%d\t%.1f\t%s\t%s\t%s\t%s\t%.1f %%\t%d\t%s\n", units, f.Unit/60, mtbfText, name, hours, beyond,
					100*o.Lost/(o.Ideal*float64(*workers)), o.Failures, tail)
			}
		}
	}
	t.Flush()
}
