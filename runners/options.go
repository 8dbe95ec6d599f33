package runners

import (
	"flag"
	"fmt"
	"os"
	"sync"
)

// Beam's options are flags of the program and variables of its packages: one run at a time may have set them.
var optionsMu sync.Mutex

// Option is one of Beam's flags with its value.
type Option struct{ Name, Value string }

// WithOptions sets Beam's flags, calls run, and sets them back. Flags that are set reach worker processes as pipeline options, so
// nothing secret belongs into them. Runs in one process take turns.
func WithOptions(options []Option, run func() error) (err error) {
	optionsMu.Lock()
	defer optionsMu.Unlock()
	for _, o := range options {
		f := flag.Lookup(o.Name)
		if f == nil {
			return fmt.Errorf("runners: Beam has no option %q: it is another version than this program was written for", o.Name)
		}
		before := f.Value.String()
		if err := flag.Set(o.Name, o.Value); err != nil {
			return fmt.Errorf("runners: option %s: %w", o.Name, err)
		}
		defer func() { f.Value.Set(before) }()
	}
	return run()
}

// Worker returns the file that workers run.
func (c *Config) Worker() (string, error) {
	if c.WorkerBinary != "" {
		st, err := os.Stat(c.WorkerBinary)
		switch {
		case err != nil:
			return "", fmt.Errorf("--worker-binary: %w", err)
		case st.IsDir() || st.Mode()&0o111 == 0:
			return "", fmt.Errorf("--worker-binary %s is no program: build one with CGO_ENABLED=0 GOOS=linux go build ./cmd/sower", c.WorkerBinary)
		}
		return c.WorkerBinary, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("--worker-binary: this program's own file is not known (%w): name it", err)
	}
	return self, nil
}
