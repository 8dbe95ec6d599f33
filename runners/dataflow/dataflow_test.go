package dataflow

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow/dataflowlib"
	"github.com/fsouza/fake-gcs-server/fakestorage"
	"google.golang.org/protobuf/proto"

	"sower/runners"
)

func half(i int) int { return i / 2 }

func init() { register.Function1x1(half) }

func TestMain(m *testing.M) {
	flag.Parse()
	beam.Init()
	os.Exit(m.Run())
}

// service is a Dataflow that answers with the states it was told, then with the last one, and keeps what it was asked.
type service struct {
	*httptest.Server
	mu       sync.Mutex
	states   []string // "503" is an answer, too
	messages []string
	jobs     []map[string]any
	updates  []string // requested states
}

func newService(t *testing.T, states ...string) *service {
	s := &service{states: states}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		var body map[string]any
		json.NewDecoder(r.Body).Decode(&body)
		switch {
		case r.URL.Path == "/token":
			fmt.Fprint(w, `{"access_token":"t","token_type":"Bearer","expires_in":3600}`)
		case r.Method == "POST":
			s.jobs = append(s.jobs, body)
			fmt.Fprint(w, `{"id":"job-7","currentState":"JOB_STATE_PENDING"}`)
		case r.Method == "PUT":
			s.updates = append(s.updates, body["requestedState"].(string))
			s.states = []string{"JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"}
			fmt.Fprint(w, `{"id":"job-7"}`)
		case strings.HasSuffix(r.URL.Path, "/messages"):
			var list []map[string]string
			for _, m := range s.messages {
				list = append(list, map[string]string{"messageText": m})
			}
			json.NewEncoder(w).Encode(map[string]any{"jobMessages": list})
		default:
			now := s.states[0]
			if len(s.states) > 1 {
				s.states = s.states[1:]
			}
			if now == "503" || now == "403" {
				w.WriteHeader(map[string]int{"503": 503, "403": 403}[now])
				return
			}
			fmt.Fprintf(w, `{"id":"job-7","currentState":%q}`, now)
		}
	}))
	t.Cleanup(s.Close)
	// A service account whose tokens come from here.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	account, _ := json.Marshal(map[string]string{"type": "service_account", "project_id": "p", "client_email": "a@p.iam.gserviceaccount.com", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": s.URL + "/token"})
	file := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(file, account, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	return s
}

// bucket starts a Cloud Storage in this process with one bucket, "b".
func bucket(t *testing.T) *fakestorage.Server {
	s, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", PublicHost: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	s.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "b"})
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(s.URL(), "http://"))
	return s
}

func config(s *service) runners.Config {
	c := runners.Config{JobName: "sower-encode-1", Dataflow: runners.Dataflow{Project: "p", Region: "us-central1", StagingLocation: "gs://b/stage", ContainerImage: "repo/sower:1",
		MachineType: "g2-standard-8", Accelerator: "nvidia-l4:2", NumWorkers: 3, MaxWorkers: 40, DiskGB: 100, Labels: map[string]string{"team": "data"}, ServiceAccount: "w@p.iam",
		Network: "n", Subnetwork: "regions/us-central1/subnetworks/s", PrivateIPs: true, Experiments: []string{"enable_x"}, ServiceOptions: []string{"enable_prime_y"}}}
	if s != nil {
		c.Dataflow.Endpoint = s.URL + "/"
	}
	return c
}

func pipeline() *beam.Pipeline {
	p, s := beam.NewPipelineWithRoot()
	beam.ParDo(s, half, beam.Create(s, 1, 2, 3))
	return p
}

func lookup(t *testing.T) runners.Runner {
	r, err := runners.Lookup("DataflowRunner")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSubmit reads what the service and the bucket were sent.
func TestSubmit(t *testing.T) {
	store, s := bucket(t), newService(t, "JOB_STATE_DONE")
	var notes bytes.Buffer
	c := config(s)
	c.Notes = &notes
	if err := lookup(t).Run(context.Background(), pipeline(), c); err != nil {
		t.Fatal(err)
	}
	if len(s.jobs) != 1 {
		t.Fatalf("%d jobs", len(s.jobs))
	}
	text, _ := json.Marshal(s.jobs[0])
	for _, want := range []string{`"name":"sower-encode-1"`, `"machineType":"g2-standard-8"`, `"numThreadsPerWorker":8`, `"numWorkers":3`, `"maxNumWorkers":40`, `"diskSizeGb":100`,
		`"workerHarnessContainerImage":"repo/sower:1"`, `"worker_accelerator=type:nvidia-l4;count:2;install-nvidia-driver"`, `"enable_prime_y"`, `"enable_x"`, `"use_runner_v2"`,
		`"labels":{"team":"data"}`, `"serviceAccountEmail":"w@p.iam"`, `"network":"n"`, `"subnetwork":"regions/us-central1/subnetworks/s"`, `"ipConfiguration":"WORKER_IP_PRIVATE"`,
		`"type":"JOB_TYPE_BATCH"`, `"tempStoragePrefix":"gs://b/stage/temp"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the job lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), `"useSingleCorePerContainer":true`) {
		t.Error("one process a core: each would load the model")
	}
	// Program and graph lie in the bucket, and the graph names the program.
	listing, err := store.ListObjectsWithOptionsPaginated("b", fakestorage.ListOptions{Prefix: "stage/"})
	if err != nil {
		t.Fatal(err)
	}
	staged := map[string][]byte{}
	for _, o := range listing.Objects {
		whole, err := store.GetObject("b", o.Name)
		if err != nil {
			t.Fatal(err)
		}
		staged[o.Name[strings.LastIndexByte(o.Name, '/')+1:]] = whole.Content
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil || !bytes.Equal(staged["worker"], program) {
		t.Errorf("the staged program has %d bytes, this one %d (%v)", len(staged["worker"]), len(program), err)
	}
	var graph pipepb.Pipeline
	if err := proto.Unmarshal(staged["model"], &graph); err != nil {
		t.Fatal(err)
	}
	for id, e := range graph.GetComponents().GetEnvironments() {
		if e.GetUrn() != "beam:env:docker:v1" || len(e.GetDependencies()) != 1 || !bytes.Contains(e.GetDependencies()[0].GetTypePayload(), []byte("gs://b/stage/")) {
			t.Errorf("environment %s: %v", id, e)
		}
	}
	if !strings.Contains(notes.String(), "job-7") {
		t.Errorf("notes: %s", notes.String())
	}
}

func TestTemplate(t *testing.T) {
	store, s := bucket(t), newService(t, "JOB_STATE_DONE")
	c := config(s)
	c.Dataflow.TemplateLocation = "gs://b/templates/encode"
	if err := lookup(t).Run(context.Background(), pipeline(), c); !errors.Is(err, runners.ErrNotStarted) {
		t.Fatalf("%v", err)
	}
	o, err := store.GetObject("b", "templates/encode")
	if err != nil || !json.Valid(o.Content) || !bytes.Contains(o.Content, []byte("g2-standard-8")) || len(s.jobs) != 0 {
		t.Errorf("template %.200s, %v; %d jobs were submitted", o.Content, err, len(s.jobs))
	}
}

func TestDescribe(t *testing.T) {
	var out bytes.Buffer
	if err := lookup(t).(runners.Describer).Describe(context.Background(), &out, pipeline(), config(nil)); err != nil {
		t.Fatal(err)
	}
	var said map[string]any
	if err := json.Unmarshal(out.Bytes(), &said); err != nil {
		t.Fatal(err)
	}
	if said["threads_per_worker"] != 8.0 || said["container_image"] != "repo/sower:1" || said["request_bytes"].(float64) < 500 || said["pipeline_bytes"].(float64) < 500 {
		t.Errorf("%s", out.String())
	}
}

// TestWait is what becomes of a job.
func TestWait(t *testing.T) {
	const wrapped = "bundle failed\nDoFn[UID:6, PID:e4, Name: units.workFn] failed:\nencode: unit 3: disk full"
	for _, c := range []struct {
		name     string
		states   []string
		messages []string
		want     string
	}{
		{"done", []string{"JOB_STATE_QUEUED", "JOB_STATE_RUNNING", "JOB_STATE_DONE"}, nil, ""},
		{"a service that stumbles", []string{"JOB_STATE_RUNNING", "503", "503", "503", "JOB_STATE_DONE"}, nil, ""},
		{"failed", []string{"JOB_STATE_RUNNING", "JOB_STATE_FAILED"}, []string{"a worker lost contact", wrapped, "The job failed because a work item has failed 4 times"}, "job-7 failed: encode: unit 3: disk full"},
		{"failed without a word", []string{"JOB_STATE_FAILED"}, nil, "the console has its messages"},
		{"cancelled by somebody", []string{"JOB_STATE_RUNNING", "JOB_STATE_CANCELLED"}, nil, "was cancelled before its end"},
		{"drained", []string{"JOB_STATE_DRAINED"}, nil, "was drained before its end"},
		{"not allowed", []string{"403"}, nil, "its state cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, c.states...)
			s.messages = c.messages
			err := watching(t, s).wait(context.Background())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func watching(t *testing.T, s *service) *watch {
	client, err := dataflowlib.NewClient(context.Background(), s.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	return &watch{client: client, project: "p", region: "r", id: "job-7", every: time.Millisecond}
}

// TestInterrupt cancels the job of a launcher that is told to stop.
func TestInterrupt(t *testing.T) {
	s := newService(t, "JOB_STATE_RUNNING")
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := watching(t, s).wait(ctx); !errors.Is(err, context.Canceled) || !slices.Equal(s.updates, []string{"JOB_STATE_CANCELLED"}) {
		t.Errorf("%v, the service was asked for %v", err, s.updates)
	}
}

// TestCheck is the table of what is refused before anything is sent, all at once.
func TestCheck(t *testing.T) {
	r := lookup(t)
	if err := r.Check(config(nil)); err != nil {
		t.Fatalf("a good configuration: %v", err)
	}
	script := filepath.Join(t.TempDir(), "worker.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*runners.Config){
		"--project is missing":                   func(c *runners.Config) { c.Dataflow.Project = "" },
		"--region is missing":                    func(c *runners.Config) { c.Dataflow.Region = "" },
		"--staging-location is missing":          func(c *runners.Config) { c.Dataflow.StagingLocation = "" },
		"--staging-location /tmp/x: want gs://":  func(c *runners.Config) { c.Dataflow.StagingLocation = "/tmp/x" },
		"--temp-location gs://: want":            func(c *runners.Config) { c.Dataflow.TempLocation = "gs://" },
		"--template-location t: want":            func(c *runners.Config) { c.Dataflow.TemplateLocation = "t" },
		"--job-name \"Big_Job\"":                 func(c *runners.Config) { c.JobName = "Big_Job" },
		"--accelerator l4:many":                  func(c *runners.Config) { c.Dataflow.Accelerator = "l4:many" },
		"--accelerator nvidia-l4:0":              func(c *runners.Config) { c.Dataflow.Accelerator = "nvidia-l4:0" },
		"needs a --container-image":              func(c *runners.Config) { c.Dataflow.ContainerImage = "" },
		"needs a --machine-type":                 func(c *runners.Config) { c.Dataflow.MachineType = "" },
		"--num-workers 50 is more than":          func(c *runners.Config) { c.Dataflow.NumWorkers = 50 },
		"--worker-threads -1":                    func(c *runners.Config) { c.Dataflow.WorkerThreads = -1 },
		"--parallelism 8: the service scales":    func(c *runners.Config) { c.Parallelism = 8 },
		"--subnetwork s: want regions/":          func(c *runners.Config) { c.Dataflow.Subnetwork = "s" },
		"--labels Team=x":                        func(c *runners.Config) { c.Dataflow.Labels = map[string]string{"Team": "x"} },
		"both ask for a GPU":                     func(c *runners.Config) { c.Dataflow.ServiceOptions = []string{"worker_accelerator=type:x;count:1"} },
		"--experiments disable_runner_v2":        func(c *runners.Config) { c.Dataflow.Experiments = []string{"disable_runner_v2"} },
		"want a slash at its end":                func(c *runners.Config) { c.Dataflow.Endpoint = "http://x" },
		"is no Linux program":                    func(c *runners.Config) { c.WorkerBinary = script },
		"--worker-binary: stat":                  func(c *runners.Config) { c.WorkerBinary = script + "x" },
		"is for another processor than --machin": func(c *runners.Config) { c.Dataflow.MachineType = "t2a-standard-4" },
	} {
		c := config(nil)
		c.Dataflow.Labels = maps.Clone(c.Dataflow.Labels)
		change(&c)
		if err := r.Check(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	err := r.Check(runners.Config{JobName: "x", Dataflow: runners.Dataflow{Accelerator: "?"}})
	if err == nil || strings.Count(err.Error(), "\n") < 3 {
		t.Errorf("not all at once: %v", err)
	}
	if r.Place(config(nil)) != runners.Elsewhere || r.Branches(config(nil)) != 1 {
		t.Error("workers of a service are elsewhere, and it needs no branches")
	}
}

func TestVirtualCPUs(t *testing.T) {
	for machine, want := range map[string]int{"n2-standard-8": 8, "g2-standard-4": 4, "e2-medium": 4, "": 4, "n1-standard-1": 2, "n2-custom-6-3072": 6, "a2-highgpu-1g": 4} {
		if got := virtualCPUs(machine); got != want {
			t.Errorf("%s: %d, want %d", machine, got, want)
		}
	}
}
