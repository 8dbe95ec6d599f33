package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(a, b, share float64) bool { return math.Abs(a-b) <= share*b }

// TestKnownRuns holds the simulation to runs that can be worked out by hand.
func TestKnownRuns(t *testing.T) {
	r := func() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }
	even := Fleet{Workers: 10, Units: 100, Unit: 60}
	for name, o := range map[string]Outcome{"dynamic": even.Dynamic(r()), "dealt": even.Dealt(r()), "alone": even.Alone(r())} {
		if !o.Finished || o.Seconds != 600 || o.Ideal != 600 || o.Lost != 0 || o.Failures != 0 {
			t.Errorf("%s: ten even machines: %+v, want 600 s", name, o)
		}
	}
	// The first to end cannot know that the others end at once: it begins a unit of theirs, in vain.
	if o := even.Helped(r()); !o.Finished || o.Seconds < 600 || o.Seconds > 660 {
		t.Errorf("helped: ten even machines: %+v", o)
	}
	one := Fleet{Workers: 1, Units: 7, Unit: 10, Slow: 1, SlowFactor: 3} // the only machine is slow
	if o := one.Dealt(r()); o.Seconds != 210 || o.Ideal != 210 {
		t.Errorf("one slow machine: %+v", o)
	}
	// Half of the machines at half speed: dealt, the slow ones decide; dynamic, all end together.
	halves := Fleet{Workers: 100, Units: 10_000, Unit: 60, Slow: 0.5, SlowFactor: 2}
	dealt, dynamic, helped := halves.Dealt(r()), halves.Dynamic(r()), halves.Helped(r())
	if helped.Seconds < dynamic.Seconds || helped.Seconds > (dealt.Seconds+dynamic.Seconds)/2 {
		t.Errorf("half slow: helped %v, dynamic %v, dealt %v", helped.Seconds, dynamic.Seconds, dealt.Seconds)
	}
	if dealt.Seconds != 12_000 || !near(dynamic.Seconds, dynamic.Ideal, 0.02) {
		t.Errorf("half slow: dealt %v, dynamic %v of %v", dealt.Seconds, dynamic.Seconds, dynamic.Ideal)
	}
}

// TestFailuresCostWhatTheyMust compares with the theory of a unit that begins again from its start: a machine of rate λ takes
// (exp(λu)-1)(1/λ+R) seconds for a unit of u (Daly 2006, with the checkpoint free).
func TestFailuresCostWhatTheyMust(t *testing.T) {
	f := Fleet{Workers: 50, Units: 20_000, Unit: 600, MTBF: 3600, Restart: 120}
	want := (math.Exp(f.Unit/f.MTBF) - 1) * (f.MTBF + f.Restart) * float64(f.Units) / float64(f.Workers)
	for name, run := range map[string]func(*rand.Rand) Outcome{"dynamic": f.Dynamic, "alone": f.Alone} {
		o := run(rand.New(rand.NewPCG(3, 4)))
		sum := o.Ideal*float64(f.Workers) + o.Lost + float64(o.Failures)*f.Restart // time of all machines
		if got := sum / float64(f.Workers); !o.Finished || !near(got, want, 0.01) || o.Seconds < got {
			t.Errorf("%s: %v seconds a machine, want %v: %+v", name, got, want, o)
		}
	}
	// The whole job at once fails as often as its machines together.
	one := Fleet{Workers: 4, Units: 4000, Unit: 100, MTBF: 4000, Restart: 50}
	o := one.Dealt(rand.New(rand.NewPCG(5, 6)))
	if rate := float64(o.Failures) / (o.Seconds - float64(o.Failures)*one.Restart); !near(rate, 4/one.MTBF, 0.1) {
		t.Errorf("%v failures a second, want %v", rate, 4/one.MTBF)
	}
	never := Fleet{Workers: 1000, Units: 10_000, Unit: 1200, MTBF: 24 * 3600, Restart: 120}
	if o := never.Dealt(rand.New(rand.NewPCG(7, 8))); o.Finished {
		t.Errorf("a job that fails every 86 s ended with units of 20 minutes: %+v", o)
	}
}
