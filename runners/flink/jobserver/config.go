package jobserver

import (
	"fmt"
	"path/filepath"
	"strings"
)

// config is Flink's configuration: everything on the loopback interface, a job tried again after a failure, nothing left outside
// the server's own folder.
//
// A job that fails is started again after 1, 2, 4 … seconds. Failures are counted together unless an hour lies between them: a job
// of days outlives as many lost workers, and an error that comes back is reported after so many attempts. Units that are committed
// are not done again.
func (o *Options) config() string {
	var b strings.Builder
	set := func(name string, value any) { fmt.Fprintf(&b, "%s: %v\n", name, value) }
	const loopback = "127.0.0.1"
	for _, name := range []string{"jobmanager.rpc.address", "jobmanager.bind-host", "taskmanager.host", "taskmanager.bind-host", "rest.address", "rest.bind-address"} {
		set(name, loopback)
	}
	// Every job has a small cluster of its own, and so a REST service of its own: a range of ports.
	set("rest.port", o.RESTPort)
	set("rest.bind-port", fmt.Sprintf("%d-%d", o.RESTPort, o.RESTPort+RESTPorts-1))
	set("io.tmp.dirs", filepath.Join(o.Folder, "tmp"))
	set("parallelism.default", o.Parallelism)
	if o.Restarts == 0 {
		set("restart-strategy.type", "none")
		return b.String()
	}
	set("restart-strategy.type", "exponential-delay")
	set("restart-strategy.exponential-delay.initial-backoff", "1 s")
	set("restart-strategy.exponential-delay.max-backoff", "10 s")
	set("restart-strategy.exponential-delay.backoff-multiplier", 2)
	set("restart-strategy.exponential-delay.reset-backoff-threshold", "1 h")
	set("restart-strategy.exponential-delay.jitter-factor", 0)
	set("restart-strategy.exponential-delay.attempts-before-reset-backoff", o.Restarts)
	return b.String()
}
