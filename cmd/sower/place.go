package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sower/gpu"
	"sower/gpu/driver"
	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/mini"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/internal/weights"
	"sower/runners"
	"sower/schemas"
	transform "sower/transforms/units"
)

// registerRunner adds the flags that say where a pipeline runs. They are the same for every runner; one ignores what does not apply.
func (f *runFlags) registerRunner(fs *pflag.FlagSet) {
	c := &f.config
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = false
	own.StringVar(&c.JobName, "job-name", "", "name of the job; default: sower, the command, a number of the output folder and one of the run")
	own.StringVar(&c.WorkerBinary, "worker-binary", "", "program of the workers, for their machine; default: this one")
	own.StringVar(&f.onWorkers, "weights-on-workers", "", "where workers have what --model, or --base, is here: a folder in their image")
	own.BoolVar(&c.SharedFiles, "shared-files", false, "local paths mean the same on every worker: a mounted file system")
	own.StringVar(&c.Flink.Endpoint, "flink-endpoint", os.Getenv("SOWER_FLINK_ENDPOINT"), "HOST:PORT of Beam's job server (see sower flink)")
	own.StringVar(&c.Flink.REST, "flink-rest", os.Getenv("SOWER_FLINK_REST"), "URL of Flink's REST, which can cancel")
	own.StringVar(&c.Flink.Environment, "environment", "", "where Flink's workers run: loopback (in this program), process (started by Flink) or external (pools)")
	own.StringVar(&c.Flink.EnvironmentConfig, "environment-config", "", "process: the command, by default this program; external: HOST:PORT of the pools")
	own.DurationVar(&c.Stall, "stall-limit", 4*time.Hour, "on Flink: give a job up when nothing was committed for this time; 0 never does")
	d := &c.Dataflow
	own.StringVar(&d.Project, "project", os.Getenv("GOOGLE_CLOUD_PROJECT"), "project that Dataflow bills")
	own.StringVar(&d.Region, "region", "", "region of the job")
	own.StringVar(&d.StagingLocation, "staging-location", "", "gs:// folder for program and job")
	own.StringVar(&d.TempLocation, "temp-location", "", "gs:// folder for the service's own files; default: temp in --staging-location")
	own.StringVar(&d.TemplateLocation, "template-location", "", "write the job to this gs:// object instead of starting it")
	own.StringVar(&d.ContainerImage, "container-image", "", "image that workers run in (docs/dataflow.md has Dockerfiles)")
	own.StringVar(&d.MachineType, "machine-type", "", "of the workers, such as n2-standard-8 or g2-standard-8")
	own.StringVar(&d.Accelerator, "accelerator", "", "GPU of each worker and how many: nvidia-l4:1")
	own.StringVar(&d.ServiceAccount, "service-account", "", "that workers act as")
	own.StringVar(&d.Network, "network", "", "of the workers")
	own.StringVar(&d.Subnetwork, "subnetwork", "", "of the workers: regions/REGION/subnetworks/NAME")
	own.BoolVar(&d.PrivateIPs, "private-ips", false, "workers have no public addresses")
	own.IntVar(&d.NumWorkers, "num-workers", 0, "workers to begin with; 0 lets the service choose")
	own.IntVar(&d.MaxWorkers, "max-workers", 0, "workers at most; 0 lets the service choose")
	own.IntVar(&d.WorkerThreads, "worker-threads", 0, "units in work at a time on a worker; 0 is one a virtual CPU")
	own.IntVar(&d.DiskGB, "disk-gb", 0, "disk of a worker; 0 lets the service choose")
	own.StringToStringVar(&d.Labels, "labels", nil, "of the job: key=value, separated by commas")
	own.StringSliceVar(&d.Experiments, "experiments", nil, "of the service, separated by commas")
	own.StringSliceVar(&d.ServiceOptions, "service-options", nil, "of the service, separated by commas")
	own.StringVar(&d.Endpoint, "dataflow-endpoint", "", "URL of the service, for tests")
	own.VisitAll(func(flag *pflag.Flag) { fs.AddFlag(flag); fs.SetAnnotation(flag.Name, remoteFlag, nil) })
	hide(fs, "dataflow-endpoint")
}

// autoDevice marks a command whose --device auto was settled.
const autoDevice = "sower-auto-device"

// remoteFlag marks flags of engines outside this program, which the help lists by themselves.
const remoteFlag = "sower-remote"

// flagUsages is the help of the flags that are, or are not, of engines outside this program.
func flagUsages(fs *pflag.FlagSet, remote bool) string {
	some := pflag.NewFlagSet("", pflag.ContinueOnError)
	some.SortFlags = false
	fs.VisitAll(func(f *pflag.Flag) {
		if _, ok := f.Annotations[remoteFlag]; ok == remote {
			some.AddFlag(f)
		}
	})
	return strings.TrimRight(some.FlagUsages(), "\n")
}

// argument is a flag that names a file or folder.
type argument struct{ flag, value string }

// arguments pairs values with the flag that took them.
func arguments(flag string, values ...string) (out []argument) {
	for _, v := range values {
		out = append(out, argument{flag, v})
	}
	return out
}

// local reports whether a worker on another machine would not find it.
func (a argument) local() bool {
	return a.value != "" && !isURL(a.value) && !strings.HasPrefix(a.value, "standin:") && a.value != weights.Null && a.value != mini.Name && a.value != "bytes"
}

// begin finds the runner and names everything about it that cannot work, before anything is opened: options, devices, and files
// that workers would not find.
func (f *runFlags) begin(cmd *cobra.Command, device string, files ...argument) error {
	r, err := runners.Lookup(f.runner)
	if err != nil {
		return usageError{err}
	}
	f.config.Notes = cmd.ErrOrStderr()
	if f.config.JobName == "" {
		f.config.JobFamily = jobFamily(cmd.Name(), files)
		f.config.JobName = cmp.Or(f.config.JobFamily, "sower-"+cmd.Name()+"-") + newRunID()[:8]
	}
	f.chosen, f.place = r, r.Place(f.config)
	errs := []error{r.Check(f.config)}
	if f.place != runners.InProcess && device != "" {
		if _, auto := cmd.Annotations[autoDevice]; auto {
			errs = append(errs, errorf("--device auto is what this machine has, the workers of --runner %s are others: give cpu or cuda", f.runner))
		}
		if err := inThisBuild(device); err != nil && f.config.WorkerBinary == "" {
			errs = append(errs, errorf("--device %s: %w, and give that as --worker-binary: workers would run this one", device, err))
		}
	}
	if f.place == runners.Elsewhere {
		for _, a := range files {
			if weighs := a.flag == "model" || a.flag == "base"; a.local() && !(weighs && f.onWorkers != "") {
				errs = append(errs, errorf("--%s %s is a path of this machine, workers of --runner %s are others: copy it to a bucket and give its gs:// or s3:// URL%s",
					a.flag, a.value, f.runner, otherCure(r, weighs)))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}

// jobFamily begins the names of jobs of a command that work for one output, "" where there is none.
func jobFamily(name string, files []argument) string {
	for _, a := range files {
		if a.flag == "output" && a.value != "" {
			sum := sha256.Sum256([]byte(absolute(a.value)))
			return fmt.Sprintf("sower-%s-%x-", name, sum[:4])
		}
	}
	return ""
}

// inThisBuild reports whether this program has the back end of a device, whatever this machine has.
func inThisBuild(device string) error {
	name, _, _ := strings.Cut(device, ":")
	if !slices.Contains(gpu.BackEnds(), name) {
		return errorf("this program has no back end %q (have: %s)", name, strings.Join(gpu.BackEnds(), ", "))
	}
	for _, c := range gpu.Examine(name) {
		if c.Name == "build" && c.State == driver.Broken {
			return errorf("%s; %s", c.Detail, c.Cure)
		}
	}
	return nil
}

// otherCure is what helps beside a bucket.
func otherCure(r runners.Runner, weighs bool) string {
	switch {
	case weighs:
		return ", or put it into their image and say where with --weights-on-workers"
	case r.Names()[0] == "flink":
		return ", or say --shared-files if they have it mounted under the same path"
	}
	return ""
}

// deviceHere opens the device in the launcher only where DoFns use it: a launcher of remote workers needs no GPU. It returns the
// device's own batch and, of a GPU, its description.
func (f *runFlags) deviceHere(d *deviceFlags, precision gpu.Precision) (batch int, computes string, err error) {
	if f.place != runners.InProcess {
		if gpu.OnGPU(d.device) {
			batch = remoteBatch
		}
		return batch, "", nil
	}
	dev, err := gpu.Open(d.device, gpu.Options{Threads: d.threads, Precision: precision})
	if err != nil {
		return 0, "", err
	}
	defer dev.Close()
	if gpu.OnGPU(d.device) {
		computes = dev.String()
	}
	return dev.Batch(), computes, nil
}

// remoteBatch is the batch of GPUs that the launcher cannot ask. Results do not depend on it.
const remoteBatch = 128

// watchParts counts units by the parts that appear in the output folder, as counters of other processes do not reach this one. It
// looks again after an interval that keeps listing below a twentieth of the time.
func watchParts(ctx context.Context, out *blob.Bucket, p *plan.Plan, r *progress.Run) {
	bytes := make([]int64, p.Units)
	for _, row := range p.Rows {
		bytes[row.Unit] += row.Bytes
	}
	seen, first := make([]bool, p.Units), true
	for wait := time.Second; ; {
		began := time.Now()
		for info, err := range out.List(ctx, "data/") {
			if err != nil {
				break // the run tells what is wrong with the store, this only counts
			}
			u, ok := corpus.PartUnit(info.Name)
			// Of the parts of a unit that lie there one counts: the last to be committed.
			if !ok || strings.HasPrefix(info.Name, "data/validation-") || u >= p.Units || seen[u] {
				continue
			}
			seen[u] = true
			r.Unit(first, schemas.Counts{In: 1, Encoded: 1}, bytes[u])
			if !first {
				r.Row("")
				r.Bytes(bytes[u])
			}
		}
		first = false
		wait = min(max(wait, 20*time.Since(began)), time.Minute)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// fits refuses more units than the runner can carry from one stage to the next.
func (f *runFlags) fits(ctx context.Context, units int) error {
	b, ok := f.chosen.(runners.Bundler)
	if !ok {
		return nil
	}
	limit, bundles := b.MaxBundle(ctx, f.config)
	if err := transform.Fits(units, bundles, limit); err != nil {
		return usageError{err}
	}
	return nil
}
