package encode

import (
	"errors"
	"fmt"
	"time"

	"sower/gpu"
	"sower/gpu/models/seed"
	"sower/gpu/resident"
	"sower/internal/weights"
)

// batchWait is how long a GPU's incomplete batch waits for pictures that are still being decoded: less than it takes to
// compute a full one, so that a slow source costs little and a fast one fills every batch.
const batchWait = 20 * time.Millisecond

// lanes are the batches in work at a time on each GPU: one is computed while another comes and goes.
const lanes = 2

// idle is how long a model that nobody uses stays in a worker process that lives on.
const idle = 10 * time.Minute

// engineOf finds or loads the resident model; the null model is a constant row of codes instead.
func engineOf(cfg Config) (*resident.Engine, []uint16, error) {
	s, q := cfg.Identity.ImageSize, cfg.Identity.CodesPerImage
	if cfg.Model == weights.Null {
		return nil, make([]uint16, q), nil
	}
	spec := resident.Spec{
		Key:        fmt.Sprintf("%s in %s on %s, %d threads, batch %d", cfg.Identity.Weights, cfg.Identity.Precision, cfg.Device, cfg.Threads, cfg.Batch),
		ImageBytes: 3 * s * s, CodesPerImage: q,
		Batch: max(cfg.Batch, 1),
		Idle:  idle,
		Open:  func() (resident.Encoder, error) { return openModels(cfg) },
	}
	if names, err := gpu.Devices(cfg.Device); err != nil {
		return nil, nil, fmt.Errorf("encode: --device %s: %w", cfg.Device, err)
	} else if gpu.OnGPU(cfg.Device) {
		spec.MaxWait, spec.Lanes = batchWait, lanes*len(names)
	}
	e, err := resident.Get(spec)
	return e, nil, err
}

// openModels loads the weights on each of the devices that cfg.Device names, and makes sure that they are those of the
// identity: a worker may see another folder under the same name than the launcher did.
func openModels(cfg Config) (resident.Encoder, error) {
	m, err := weights.Open(cfg.Model)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	digest, err := m.Digest()
	if err != nil {
		return nil, err
	}
	if digest != cfg.Identity.Weights {
		return nil, fmt.Errorf("encode: --model %s on this worker has weights %.12s, the run was planned with %.12s: put the same files there", cfg.Model, digest, cfg.Identity.Weights)
	}
	precision, err := gpu.ParsePrecision(cfg.Identity.Precision)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	names, err := gpu.Devices(cfg.Device)
	if err != nil {
		return nil, err
	}
	all := &deviceModels{free: make(chan *seed.Model, lanes*len(names))}
	for _, name := range names {
		dev, err := gpu.Open(name, gpu.Options{Threads: cfg.Threads, Precision: precision})
		if err != nil {
			return nil, errors.Join(err, all.Close())
		}
		all.devices = append(all.devices, dev)
		model, err := seed.Load(dev, m.Source, m.Config, seed.Encode)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", name, err), all.Close())
		}
		all.models = append(all.models, model)
	}
	all.release()
	return all, nil
}

// release lets every model take batches: the first of every device before the second of any.
func (m *deviceModels) release() {
	for range lanes {
		for _, model := range m.models {
			m.free <- model
		}
	}
}

// deviceModels is one model on each of several devices. A batch goes to whichever has the least in work; which one that is
// does not show in the codes.
type deviceModels struct {
	models  []*seed.Model
	devices []*gpu.Device
	free    chan *seed.Model
}

func (m *deviceModels) Encode(rgb []byte, n int, codes []uint16, finite []bool) error {
	model := <-m.free
	defer func() { m.free <- model }()
	return model.Encode(rgb, n, codes, finite)
}

func (m *deviceModels) Close() error {
	var errs []error
	for _, model := range m.models {
		errs = append(errs, model.Close())
	}
	for _, dev := range m.devices {
		errs = append(errs, dev.Close())
	}
	return errors.Join(errs...)
}
