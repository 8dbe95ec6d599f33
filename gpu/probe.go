package gpu

import (
	"fmt"

	"sower/gpu/driver"
)

// RegisterProbe makes known how a back end finds its devices without opening one. Back ends with several devices call it from
// init.
func RegisterProbe(name string, probe func() ([]driver.Found, error)) {
	backEnds.Lock()
	defer backEnds.Unlock()
	if backEnds.probe == nil {
		backEnds.probe = map[string]func() ([]driver.Found, error){}
	}
	backEnds.probe[name] = probe
}

// RegisterDoctor makes known how a back end examines what it needs. Back ends that need more than the processor call it from init.
func RegisterDoctor(name string, examine func() []driver.Check) {
	backEnds.Lock()
	defer backEnds.Unlock()
	if backEnds.doctor == nil {
		backEnds.doctor = map[string]func() []driver.Check{}
	}
	backEnds.doctor[name] = examine
}

// Examine says what a back end needs and what this machine has of it; nothing if it needs nothing.
func Examine(name string) []driver.Check {
	backEnds.Lock()
	examine := backEnds.doctor[name]
	backEnds.Unlock()
	if examine == nil {
		return nil
	}
	return examine()
}

// Probe lists the devices of a back end. The error says what was tried and what was missing. A back end that has not
// registered a probe has one device, which has its name.
func Probe(name string) ([]driver.Found, error) {
	backEnds.Lock()
	probe, known := backEnds.probe[name], backEnds.open[name] != nil
	backEnds.Unlock()
	switch {
	case probe != nil:
		return probe()
	case known:
		return []driver.Found{{Name: name}}, nil
	}
	return nil, fmt.Errorf("gpu: no back end %q in this binary", name)
}

// Devices lists what a name stands for: "cuda" is every CUDA device that this process sees, "cuda:1" and "cpu" are one.
func Devices(name string) ([]string, error) {
	backEnds.Lock()
	several := backEnds.probe[name] != nil
	backEnds.Unlock()
	if !several {
		return []string{name}, nil
	}
	found, err := Probe(name)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("gpu: %q: this process sees no such device", name)
	}
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = f.Name
	}
	return names, nil
}

// Auto names the device that "auto" stands for: the first GPU that answers, or the CPU, and says why.
func Auto() (name, why string) {
	found, err := Probe("cuda")
	switch {
	case err != nil:
		return "cpu", err.Error()
	case len(found) == 0:
		return "cpu", "no CUDA device"
	}
	return "cuda", found[0].Detail
}
