package gpu

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"sower/gpu/driver"
)

// Precision is that of matrix products: of weights and of what they are multiplied with. Sums, and all else, are float32.
type Precision uint8

// The precisions. BF16 rounds the operands of products to bfloat16, 8 bits of mantissa, and FP16 to float16, 11 bits: faster
// where the processor has instructions for it, and some codes differ. A GPU keeps the results of operations in them, too, as
// the published model does in float16. FP8, of GPUs of capability 9.0, is FP16 but for the products that a model calls narrow:
// their operands are e4m3, 4 bits of mantissa with the leading one, with a scale for each row of x and of the weight.
const (
	FP32 Precision = iota
	BF16
	FP16
	FP8
)

func (p Precision) String() string {
	return [...]string{FP32: "float32", BF16: "bfloat16", FP16: "float16", FP8: "float8 mlp"}[p]
}

// On names the arithmetic of a device for identities: a GPU's bfloat16 keeps activations in it, too, which a CPU's does not.
func (p Precision) On(device string) string {
	if p == BF16 && OnGPU(device) {
		return bf16Activations
	}
	return p.String()
}

const bf16Activations = "bfloat16 activations"

// ParsePrecision reads the name of a precision, long or short, or of an arithmetic.
func ParsePrecision(s string) (Precision, error) {
	switch s {
	case "float32", "fp32":
		return FP32, nil
	case "bfloat16", "bf16", bf16Activations:
		return BF16, nil
	case "float16", "fp16":
		return FP16, nil
	case "float8 mlp", "float8", "fp8":
		return FP8, nil
	}
	return 0, fmt.Errorf("precision %q, want float32 (fp32), bfloat16 (bf16), float16 (fp16) or fp8", s)
}

// Options are the settings of Open.
type Options struct {
	// Precision of matrix products. A device that does not have it fails to open.
	Precision Precision
	// Index is which of several devices; Open sets it from the name.
	Index int
	// Threads is how many threads compute at most, however many passes run at once. 0 means GOMAXPROCS.
	Threads int
	// Composed runs operations that the back end has fused as the plain operations that they stand for. For tests.
	Composed bool
	// Profile, if any, counts the time of operations.
	Profile *Profile
}

var backEnds struct {
	sync.Mutex
	open   map[string]func(Options) (driver.Device, error)
	probe  map[string]func() ([]driver.Found, error)
	doctor map[string]func() []driver.Check
}

// Register makes a back end known to Open. Back ends call it from init; a second one of the same name panics.
func Register(name string, open func(Options) (driver.Device, error)) {
	backEnds.Lock()
	defer backEnds.Unlock()
	if _, twice := backEnds.open[name]; twice {
		panic(fmt.Sprintf("gpu: two back ends register as %q", name))
	}
	if backEnds.open == nil {
		backEnds.open = map[string]func(Options) (driver.Device, error){}
	}
	backEnds.open[name] = open
}

// BackEnds lists the names that Open knows, sorted.
func BackEnds() []string {
	backEnds.Lock()
	defer backEnds.Unlock()
	return slices.Sorted(maps.Keys(backEnds.open))
}

// Device is an opened back end. All its methods may be called from several goroutines at once.
type Device struct {
	name     string
	drv      driver.Device
	composed bool
	profile  *Profile
	tap      atomic.Pointer[TapFunc]

	mu     sync.Mutex
	passes []*Pass // idle, with their memory
	closed bool
}

// Open opens a back end by name, "cpu", or one of its devices, "cuda:1"; without a number that is the first. Nothing is opened
// in place of a name that is missing or does not work.
func Open(name string, o Options) (*Device, error) {
	backEnd, number, numbered := strings.Cut(name, ":")
	if numbered {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("gpu: open %q: %q is not the number of a device", name, number)
		}
		o.Index = int(n)
	}
	if o.Threads < 0 {
		return nil, fmt.Errorf("gpu: open %q: %d threads, want 0 (all) or more", name, o.Threads)
	}
	backEnds.Lock()
	open := backEnds.open[backEnd]
	backEnds.Unlock()
	if open == nil {
		return nil, fmt.Errorf("gpu: no back end %q in this binary (have: %s); choose one of these or import the package "+
			"that registers it, such as sower/gpu/cpu", backEnd, strings.Join(BackEnds(), ", "))
	}
	drv, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("gpu: open %q: %w", name, err)
	}
	return &Device{name: name, drv: drv, composed: o.Composed, profile: o.Profile}, nil
}

// Batch is how many images at a time the device computes best.
func (d *Device) Batch() int {
	if b, ok := d.drv.(driver.Batcher); ok {
		return b.Batch()
	}
	return 1
}

// String names the back end and what it computes on: "cpu (2 threads, AVX2+FMA)".
func (d *Device) String() string { return fmt.Sprintf("%s (%s)", d.name, d.drv.Describe()) }

// TapFunc sees a named intermediate of a model: it may read t through p (Pass.ReadF32 and its kin).
type TapFunc func(p *Pass, name string, t *Tensor)

// SetTap installs f to see every Pass.Tap of this device, or removes it if f is nil. For tests and debugging.
func (d *Device) SetTap(f TapFunc) {
	if f == nil {
		d.tap.Store(nil)
		return
	}
	d.tap.Store(&f)
}

// Close gives back the memory of idle passes and ends the device. Every pass must be closed before; tensors made by
// NewTensor and NewWeight must not be used after.
func (d *Device) Close() error {
	d.mu.Lock()
	passes := d.passes
	d.passes, d.closed = nil, true
	d.mu.Unlock()
	for _, p := range passes {
		if err := p.destroy(); err != nil {
			return fmt.Errorf("gpu: close %s: %w", d.name, err)
		}
	}
	if err := d.drv.Close(); err != nil {
		return fmt.Errorf("gpu: close %s: %w", d.name, err)
	}
	return nil
}
