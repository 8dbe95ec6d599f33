package training

import "math"

// Epochs is the published learning rate: linear inside epoch 0 from Begin to Top over Warmup steps, flat to its end, then half a
// cosine to End that is evaluated once an epoch.
type Epochs struct {
	Top        float64 `json:"lr"`
	End        float64 `json:"min_lr"`
	Begin      float64 `json:"warmup_lr"`
	Warmup     int     `json:"warmup_steps"`
	Epochs     int     `json:"epochs"`
	EpochSteps int     `json:"epoch_steps"`
}

// Rate is that of step 0, 1, ….
func (e Epochs) Rate(step int) float64 {
	epoch := step / e.EpochSteps
	if epoch == 0 {
		return e.Begin + (e.Top-e.Begin)*float64(min(step, e.Warmup))/float64(max(e.Warmup, 1))
	}
	return e.End + (e.Top-e.End)*0.5*(1+math.Cos(math.Pi*float64(epoch)/float64(e.Epochs)))
}

// Steps is a learning rate for short runs: linear over Warmup steps, and half a cosine to a fiftieth over all steps, whichever is
// less.
type Steps struct {
	Top    float64 `json:"lr"`
	Warmup int     `json:"warmup_steps"`
	Total  int     `json:"steps"`
}

// Rate is that of step 0, 1, ….
func (s Steps) Rate(step int) float64 {
	fall := 0.02 + 0.98*0.5*(1+math.Cos(math.Pi*float64(step)/float64(s.Total)))
	return s.Top * min(float64(step+1)/float64(max(s.Warmup, 1)), fall)
}
