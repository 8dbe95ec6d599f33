package gpu

import (
	"fmt"
	"strings"

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

// Devices lists what a name stands for: "cuda" is every CUDA device that this process sees and can use, "cuda:1" and "cpu" are
// one.
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
	var names []string
	for _, f := range found {
		if f.Fault == "" {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("gpu: %q: this process sees no such device that can be used", name)
	}
	return names, nil
}

// Auto names the device that "auto" stands for: the first GPU that answers, or the CPU, and says why.
func Auto() (name, why string) {
	found, err := Probe("cuda")
	if err != nil {
		return "cpu", err.Error()
	}
	for _, f := range found {
		if f.Fault == "" {
			return "cuda", f.Detail
		}
	}
	return "cpu", "no CUDA device that can be used"
}

// OnGPU reports whether a name is that of GPUs: devices with memory of their own, which compute later than they are called.
func OnGPU(name string) bool { return name == "cuda" || strings.HasPrefix(name, "cuda:") }
