package dataflow

import (
	"debug/elf"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"sower/runners"
)

// maxName is the length of a job's name at most.
const maxName = 1024

var (
	jobNames    = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	gpuTypes    = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	labelKeys   = regexp.MustCompile(`^[a-z][-_a-z0-9]{0,62}$`)
	labelValues = regexp.MustCompile(`^[-_a-z0-9]{0,63}$`)
)

// Check names every option that is wrong or missing, with the cure.
func (runner) Check(c runners.Config) error {
	d := &c.Dataflow
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("dataflow: "+format, args...)) }
	if d.Project == "" {
		bad("--project is missing: the Google Cloud project that pays (or set GOOGLE_CLOUD_PROJECT)")
	}
	if d.Region == "" {
		bad("--region is missing: where workers run, such as us-central1; choose that of the data's bucket")
	}
	if d.StagingLocation == "" {
		bad("--staging-location is missing: a gs:// folder for this program and the job, in the same region")
	}
	for _, l := range []struct{ flag, url string }{{"staging-location", d.StagingLocation}, {"temp-location", d.TempLocation}, {"template-location", d.TemplateLocation}} {
		if l.url != "" && !bucketURL(l.url) {
			bad("--%s %s: want gs://BUCKET/FOLDER", l.flag, l.url)
		}
	}
	if !jobNames.MatchString(c.JobName) || len(c.JobName) > maxName {
		bad("--job-name %q: want small letters, digits and -, beginning with a letter", c.JobName)
	}
	gpu, _, err := accelerator(d.Accelerator)
	if err != nil {
		bad("%w", err)
	}
	if gpu != "" && d.ContainerImage == "" {
		bad("--accelerator %s needs a --container-image with CUDA's libraries, Beam's own has none: docs/dataflow.md has its Dockerfile", d.Accelerator)
	}
	if gpu != "" && d.MachineType == "" {
		bad("--accelerator %s needs a --machine-type that can have it, such as g2-standard-8 for nvidia-l4 or n1-standard-8 for nvidia-tesla-t4", d.Accelerator)
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"parallelism", c.Parallelism}, {"num-workers", d.NumWorkers}, {"max-workers", d.MaxWorkers}, {"worker-threads", d.WorkerThreads}, {"disk-gb", d.DiskGB}} {
		if n.value < 0 {
			bad("--%s %d: want 0 (the service or this program chooses) or more", n.flag, n.value)
		}
	}
	if c.Parallelism > 0 {
		bad("--parallelism %d: the service scales by workers and threads: give --max-workers and --worker-threads (their product is the parallelism)", c.Parallelism)
	}
	if d.MaxWorkers > 0 && d.NumWorkers > d.MaxWorkers {
		bad("--num-workers %d is more than --max-workers %d", d.NumWorkers, d.MaxWorkers)
	}
	if d.Subnetwork != "" && !strings.Contains(d.Subnetwork, "regions/") {
		bad("--subnetwork %s: want regions/REGION/subnetworks/NAME, or the whole URL of one", d.Subnetwork)
	}
	for k, v := range d.Labels {
		if !labelKeys.MatchString(k) || !labelValues.MatchString(v) {
			bad("--labels %s=%s: want small letters, digits, - and _, at most 63", k, v)
		}
	}
	for _, o := range d.ServiceOptions {
		if gpu != "" && strings.HasPrefix(o, "worker_accelerator") {
			bad("--service-options %s and --accelerator %s both ask for a GPU: give one of them", o, d.Accelerator)
		}
	}
	for _, e := range d.Experiments {
		if strings.HasPrefix(e, "disable_runner_v2") || e == "disable_prime_runner_v2" || e == "disable_portable_runner" {
			bad("--experiments %s: Go pipelines need Runner v2: leave it out", e)
		}
	}
	if d.Endpoint != "" && !strings.HasSuffix(d.Endpoint, "/") {
		bad("--dataflow-endpoint %s: want a slash at its end", d.Endpoint)
	}
	if err := checkProgram(&c); err != nil {
		bad("%w", err)
	}
	return errors.Join(errs...)
}

func bucketURL(url string) bool {
	rest, ok := strings.CutPrefix(url, "gs://")
	bucket, _, _ := strings.Cut(rest, "/")
	return ok && bucket != ""
}

// join appends to a folder of a bucket.
func join(url, name string) string { return strings.TrimRight(url, "/") + "/" + name }

// accelerator reads "nvidia-l4:1"; without a number it is one.
func accelerator(text string) (name string, count int, err error) {
	if text == "" {
		return "", 0, nil
	}
	name, number, numbered := strings.Cut(text, ":")
	count = 1
	if numbered {
		count, err = strconv.Atoi(number)
	}
	if err != nil || count < 1 || count > 16 || !gpuTypes.MatchString(name) {
		return "", 0, fmt.Errorf("--accelerator %s: want TYPE:COUNT, such as nvidia-l4:1", text)
	}
	return name, count, nil
}

// arm are the prefixes of machine types with ARM processors.
var arm = []string{"t2a-", "c4a-", "n4a-"}

// checkProgram makes sure that the workers' machines can run the program, which would otherwise be found out some minutes and some
// money later.
func checkProgram(c *runners.Config) error {
	path, err := c.Worker()
	if err != nil {
		return err
	}
	const build = "build one with CGO_ENABLED=0 GOOS=linux GOARCH=%s go build ./cmd/sower and give it as --worker-binary"
	machine, arch := elf.EM_X86_64, "amd64"
	for _, p := range arm {
		if strings.HasPrefix(c.Dataflow.MachineType, p) {
			machine, arch = elf.EM_AARCH64, "arm64"
		}
	}
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is no Linux program, workers run Linux: "+build, path, arch)
	}
	defer f.Close()
	if f.Machine != machine {
		return fmt.Errorf("%s is for another processor than --machine-type %s: "+build, path, c.Dataflow.MachineType, arch)
	}
	if c.Dataflow.ContainerImage != "" {
		return nil
	}
	for _, s := range f.Progs {
		if s.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs a C library (it was built with cgo), which Beam's own image lacks: give a --container-image that has one (docs/dataflow.md), or "+build, path, arch)
		}
	}
	return nil
}

// virtualCPUs reads their number from a machine type: 8 of n2-standard-8. Where the name does not say, four units at a time keep
// a small machine busy without filling its memory.
func virtualCPUs(machine string) int {
	number := machine[strings.LastIndexByte(machine, '-')+1:]
	if _, custom, ok := strings.Cut(machine, "custom-"); ok { // n2-custom-8-16384: CPUs, then memory
		number, _, _ = strings.Cut(custom, "-")
	}
	if n, err := strconv.Atoi(number); err == nil && n > 0 {
		return max(2, n)
	}
	return 4
}
