package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"sower/internal/blob/gcstest"
	"sower/internal/encode"
	pipeline "sower/pipelines/encode"
	"sower/runners"
	"sower/schemas"
	"sower/transforms/manifest"
)

// fakeDataflow is a service that takes jobs and says at once that they are done, which proves nothing.
type fakeDataflow struct {
	*httptest.Server
	mu   sync.Mutex
	jobs []map[string]any
}

func newFakeDataflow(t *testing.T) *fakeDataflow {
	d := &fakeDataflow{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/token":
			fmt.Fprint(w, `{"access_token":"t","token_type":"Bearer","expires_in":3600}`)
		case r.Method == "POST":
			var job map[string]any
			json.NewDecoder(r.Body).Decode(&job)
			d.mu.Lock()
			d.jobs = append(d.jobs, job)
			d.mu.Unlock()
			fmt.Fprint(w, `{"id":"job-1","currentState":"JOB_STATE_PENDING"}`)
		default:
			fmt.Fprint(w, `{"id":"job-1","currentState":"JOB_STATE_DONE"}`)
		}
	}))
	t.Cleanup(d.Close)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	account, _ := json.Marshal(map[string]string{"type": "service_account", "project_id": "p", "client_email": "a@p.iam.gserviceaccount.com", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": d.URL + "/token"})
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", writeFile(t, t.TempDir(), "account.json", account))
	return d
}

// TestDataflow submits the encode of a bucket, finds that a job called done has left no manifest, and finishes by the same command on
// another runner.
func TestDataflow(t *testing.T) {
	gcstest.New(t, "b")
	service := newFakeDataflow(t)
	upload(t, pictures(t, 3, 10), "gs://b/in")
	// What workers run must be a Linux program; this one is, where the test runs on Linux.
	flags := []string{"--project", "p", "--region", "us-central1", "--staging-location", "gs://b/staging", "--container-image", "repo/sower:1", "--machine-type", "n2-standard-16",
		"--max-workers", "20", "--job-name", "sower-test", "--dataflow-endpoint", service.URL + "/"}
	args := append([]string{"encode", "-q", "-i", "gs://b/in/*.tar", "-o", "gs://b/out", "-m", "standin:tiny:0", "--unit-bytes", "16KiB", "--runner", "dataflow"}, flags...)

	dry := must(t, append(args, "--dry-run")...)
	if !strings.Contains(dry, `"threads_per_worker": 16`) || !strings.Contains(dry, `"request_bytes"`) || len(service.jobs) != 0 {
		t.Errorf("dry run says\n%s\nand submitted %d jobs", dry, len(service.jobs))
	}
	_, stderr, code := sower(t, args...)
	if code != exitFailed || !strings.Contains(stderr, "ended without a manifest") {
		t.Fatalf("a job that is done without a result: %d %s", code, stderr)
	}
	if len(service.jobs) != 1 || service.jobs[0]["name"] != "sower-test" {
		t.Fatalf("jobs %v", service.jobs)
	}
	// The plan that the job would have worked on lies in the bucket: another runner finishes it, and the service is not asked again.
	must(t, "encode", "-q", "-i", "gs://b/in/*.tar", "-o", "gs://b/out", "-m", "standin:tiny:0", "--unit-bytes", "16KiB")
	if text := must(t, args...); !strings.Contains(text, "finished already") || len(service.jobs) != 1 {
		t.Errorf("%s\n%d jobs", text, len(service.jobs))
	}
	local := filepath.Join(t.TempDir(), "out")
	must(t, "encode", "-q", "-i", pictures(t, 3, 10), "-o", local, "-m", "standin:tiny:0", "--unit-bytes", "16KiB")
	same(t, "a bucket", tables(t, mirror(t, "gs://b/out")), tables(t, local))
}

// TestDataflowRefusals wants everything that is wrong named at once, before anything is listed or sent.
func TestDataflowRefusals(t *testing.T) {
	dir := pictures(t, 1, 2)
	_, stderr, code := sower(t, "encode", "-q", "-i", dir, "-o", "out", "-m", "weights/", "--device", "cuda", "--runner", "DataflowRunner", "--accelerator", "nvidia-l4")
	for _, want := range []string{"--project is missing", "--region is missing", "--staging-location is missing", "needs a --container-image", "needs a --machine-type",
		"--input " + dir + " is a path of this machine", "--output out is a path", "--model weights/ is a path", "--weights-on-workers", "--worker-binary"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("lacks %q:\n%s", want, stderr)
		}
	}
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if _, stderr, _ := sower(t, "encode", "-q", "-i", "gs://b/x", "-o", "gs://b/y", "-m", "null", "--device", "auto", "--runner", "dataflow", "--project", "p", "--region", "r",
		"--staging-location", "gs://b/s", "--container-image", "i"); !strings.Contains(stderr, "--device auto is what this machine has") {
		t.Errorf("%s", stderr)
	}
}

// TestDataflowRequest wants a request of one size for a hundred units and for a quarter of a million: the plan is a file.
func TestDataflowRequest(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, err := runners.Lookup("dataflow")
	if err != nil {
		t.Fatal(err)
	}
	size := func(units int) (request, graph float64) {
		limits := encode.DefaultLimits()
		cfg := encode.Config{RunID: "r", Input: "gs://b/in", Output: "gs://b/out", Plan: "_plan/x.parquet", Units: units, Model: "standin:seed2:0", Device: "cpu", Limits: limits, MaxFailureRate: 0.5,
			Identity: schemas.Identity{Resize: "bicubic"}}
		p, s := beam.NewPipelineWithRoot()
		m := schemas.Manifest{Pipeline: "encode", Units: units}
		if err := pipeline.Build(s, pipeline.Options{Config: cfg, Branches: 1, Manifest: manifest.Options{Output: cfg.Output, Manifest: m}}); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		c := runners.Config{JobName: "j", WorkerBinary: self, Dataflow: runners.Dataflow{Project: "p", Region: "r", StagingLocation: "gs://b/s"}}
		if err := r.(runners.Describer).Describe(t.Context(), &out, p, c); err != nil {
			t.Fatal(err)
		}
		var said map[string]any
		if err := json.Unmarshal(out.Bytes(), &said); err != nil {
			t.Fatal(err)
		}
		return said["request_bytes"].(float64), said["pipeline_bytes"].(float64)
	}
	request, graph := size(100)
	bigRequest, bigGraph := size(250_000)
	if bigRequest > request+64 || bigGraph > graph+256 || bigRequest > 100<<10 || bigGraph > 1<<20 {
		t.Errorf("100 units: %v and %v bytes, 250,000: %v and %v", request, graph, bigRequest, bigGraph)
	}
	t.Logf("request of %v bytes, graph of %v", bigRequest, bigGraph)
}
