package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sower/runners/flink/jobserver"
	"sower/runners/flink/rest"
)

// The tests of this file run on a real Flink, if SOWER_FLINK_LIB names its class path (sower flink fetch). Each starts this test binary
// as "sower flink run -- this test binary", so that server, launcher and workers share a private network where that is allowed, and
// goes on in there. What Flink runs is held to what the local runner made before.

// insideFlink names the folder that the outer half of a test prepared, for its inner half.
const insideFlink = "SOWER_TEST_FLINK_DIR"

// onFlink runs the inner half of a test beside a job server of its own. prepare makes what it needs, in a folder that both halves get.
// Afterwards nothing that server, launcher or workers made may be left.
func onFlink(t *testing.T, limit time.Duration, server []string, prepare, test func(t *testing.T, dir string)) {
	t.Helper()
	if dir := os.Getenv(insideFlink); dir != "" {
		test(t, dir)
		return
	}
	if os.Getenv(jobserver.LibVariable) == "" {
		t.Skipf("%s does not name the class path of Flink (sower flink fetch)", jobserver.LibVariable)
	}
	dir, temp := t.TempDir(), t.TempDir()
	prepare(t, dir)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	log := filepath.Join(dir, "jobserver.log")
	args := append([]string{"flink", "run", "--log", log}, server...)
	args = append(args, "--", "env", "-u", asMain, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+limit.String())
	cmd := process(args...)
	cmd.Env = append(cmd.Env, insideFlink+"="+dir, "TMPDIR="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer context.AfterFunc(ctx, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })()
	err := cmd.Wait()
	t.Logf("on Flink:\n%s", out.String())
	if err != nil {
		text, _ := os.ReadFile(log)
		t.Fatalf("on Flink: %v, %v; the job server's log ends with\n%s", err, ctx.Err(), text[max(0, len(text)-4000):])
	}
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("%s is left in the temporary folder", f.Name())
	}
	// They look for their parent five times a second.
	until(t, "the workers have ended", 2*time.Minute, func() bool { return len(workerProcesses(t)) == 0 })
}

// workerProcesses are the processes that run this binary as a worker.
func workerProcesses(t *testing.T) (pids []int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range all {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(line, []byte(self+"\x00")) || !bytes.Contains(line, []byte("\x00--provision_endpoint=")) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if jobserver.Alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// until waits for a condition, with a limit.
func until(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// flinkCommands are the pipelines that are compared, by their output folder.
func flinkCommands(dir, suffix string) map[string][]string {
	codes := filepath.Join(dir, "local", "encode")
	sequences := filepath.Join(dir, "local", "interleave")
	out := func(name string) string { return filepath.Join(dir, suffix, name) }
	return map[string][]string{
		"encode":     {"encode", "-q", "-i", filepath.Join(dir, "in"), "-o", out("encode"), "-m", tiny, "--unit-bytes", "16KiB"},
		"interleave": {"interleave", "-q", "--codes", codes + ":4", "-o", out("interleave"), "--context", "256", "--validation", "0.15", "--file-tokens", "2000", "--pack"},
		"tune":       tuneArgs(sequences, out("tune"), "--steps", "8"),
	}
}

// flinkReference makes input, and every pipeline's output on the local runner.
func flinkReference(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(dir, "in"), os.DirFS(pictures(t, 3, 40))); err != nil {
		t.Fatal(err)
	}
	commands := flinkCommands(dir, "local")
	for _, name := range []string{"encode", "interleave", "tune"} {
		must(t, commands[name]...)
	}
}

// results are the hashes of what a pipeline is for.
func results(t *testing.T, name, dir string) map[string]string {
	t.Helper()
	if name == "tune" {
		return adapterHashes(t, dir)
	}
	return hashes(t, dir)
}

// TestFlink runs every pipeline on Flink, in this process and in worker processes, with one and four units in work: the bytes are
// those of the local runner.
func TestFlink(t *testing.T) {
	onFlink(t, 10*time.Minute, nil, flinkReference, func(t *testing.T, dir string) {
		for _, environment := range []string{"loopback", "process"} {
			for _, parallelism := range []int{1, 4} {
				suffix := fmt.Sprintf("%s-%d", environment, parallelism)
				for name, args := range flinkCommands(dir, suffix) {
					began := time.Now()
					must(t, append(args, "--runner", "flink", "--environment", environment, "--parallelism", strconv.Itoa(parallelism))...)
					t.Logf("%s %s: %v", suffix, name, time.Since(began).Round(100*time.Millisecond))
					same(t, suffix+" "+name, results(t, name, filepath.Join(dir, suffix, name)), results(t, name, filepath.Join(dir, "local", name)))
					// A worker ends with its job, and gives its model's memory back.
					until(t, "the worker has ended", 2*time.Minute, func() bool { return len(workerProcesses(t)) == 0 })
					if m := readManifest(t, filepath.Join(dir, suffix, name)); m.Runner != "flink" {
						t.Errorf("%s %s: the manifest names runner %q", suffix, name, m.Runner)
					}
				}
			}
		}
	})
}

// encodeOnFlink is the pipeline that trouble is made for: some seconds of work in many units.
func encodeOnFlink(dir, out string, more ...string) []string {
	args := []string{"encode", "-q", "-i", filepath.Join(dir, "in"), "-o", filepath.Join(dir, out), "-m", tiny, "--unit-bytes", "16KiB"}
	if out != "local" {
		args = append(args, "--runner", "flink", "--parallelism", "2")
	}
	return append(args, more...)
}

func manyUnits(count int, more ...string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		if err := os.CopyFS(filepath.Join(dir, "in"), os.DirFS(pictures(t, count/100, 100))); err != nil {
			t.Fatal(err)
		}
		must(t, encodeOnFlink(dir, "local", more...)...)
	}
}

// committed counts the units that a run has done.
func committed(dir string) int {
	files, _ := filepath.Glob(filepath.Join(dir, "data", "part-*"))
	return len(files)
}

// flinkJobs lists what Flink runs; nothing, where no cluster is up.
func flinkJobs(t *testing.T) []rest.Job {
	t.Helper()
	c, err := rest.New(os.Getenv(restVariable))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := c.Jobs(context.Background())
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(jobs, func(j rest.Job) bool { return j.Ended() })
}

// started is a command in a process of its own, with what it says.
func started(t *testing.T, args ...string) (cmd *exec.Cmd, said *bytes.Buffer) {
	t.Helper()
	cmd, said = process(args...), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, said
}

// TestFlinkTrouble makes units fail, kills workers, interrupts, cancels and submits with the wrong program: the bytes stay those of
// the local runner, or the error says what is the matter.
func TestFlinkTrouble(t *testing.T) {
	onFlink(t, 10*time.Minute, []string{"--restarts", "2"}, manyUnits(3000), func(t *testing.T, dir string) {
		want := hashes(t, filepath.Join(dir, "local"))
		units := readManifest(t, filepath.Join(dir, "local")).Units
		whole := func(t *testing.T, out string) {
			t.Helper()
			same(t, out, hashes(t, filepath.Join(dir, out)), want)
		}
		t.Run("error in this process", func(t *testing.T) {
			out := filepath.Join(dir, "error")
			cmd, said := started(t, encodeOnFlink(dir, "error")...)
			until(t, "the plan", 2*time.Minute, func() bool { _, err := os.Stat(filepath.Join(out, "_plan")); return err == nil })
			// A folder where the last unit's part should be: the unit fails until it is gone.
			obstacle := filepath.Join(out, "data", fmt.Sprintf("part-%05d-of-%05d.parquet", units-1, units))
			if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o755); err != nil {
				t.Fatal(err)
			}
			until(t, "Flink starts the job again", 2*time.Minute, func() bool {
				return slices.ContainsFunc(flinkJobs(t), func(j rest.Job) bool { return j.State == "RESTARTING" })
			})
			if err := os.RemoveAll(obstacle); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			whole(t, "error")
		})
		t.Run("error that stays", func(t *testing.T) {
			bad := filepath.Join(dir, "bad")
			for i := range 20 {
				writeFile(t, bad, fmt.Sprintf("%d.jpg", i), []byte("no picture"))
			}
			_, text, code := sower(t, "encode", "-q", "-i", bad, "-o", filepath.Join(dir, "failed"), "-m", tiny, "--runner", "flink", "--environment", "process")
			if code != exitFailures || !strings.Contains(text, "20 of 20") || strings.Contains(text, "java") {
				t.Errorf("exit code %d\n%s", code, text)
			}
		})
		t.Run("killed worker", func(t *testing.T) {
			quietJobs(t, 2*time.Minute) // what worked for the job before may still be ending
			cmd, said := started(t, encodeOnFlink(dir, "killed", "--environment", "process")...)
			until(t, "the first units", 2*time.Minute, func() bool { return committed(filepath.Join(dir, "killed")) > 2 })
			pids := workerProcesses(t)
			if len(pids) != 1 {
				t.Fatalf("worker processes %v, want one for the job", pids)
			}
			if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			whole(t, "killed")
			if m := readManifest(t, filepath.Join(dir, "killed")); m.Resumed == 0 {
				t.Error("the job began at the beginning: was it started again?")
			}
		})
		t.Run("interrupted", func(t *testing.T) {
			working := func(out string) bool { return committed(filepath.Join(dir, out)) > 2 }
			planned := func(out string) bool { _, err := os.Stat(filepath.Join(dir, out, "_plan")); return err == nil }
			for _, c := range []struct {
				out, environment string
				when             func(out string) bool
			}{{"process", "process", working}, {"loopback", "loopback", working}, {"early", "process", planned}} {
				cmd, said := started(t, encodeOnFlink(dir, c.out, "--environment", c.environment)...)
				until(t, "time to interrupt", 2*time.Minute, func() bool { return c.when(c.out) })
				cmd.Process.Signal(os.Interrupt)
				cmd.Wait()
				if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || strings.Contains(said.String(), "may go on") {
					t.Errorf("exit code %d\n%s", code, said)
				}
				quiet(t, filepath.Join(dir, c.out))
				must(t, encodeOnFlink(dir, c.out)...)
				whole(t, c.out)
			}
		})
		t.Run("cancelled", func(t *testing.T) {
			cmd, said := started(t, encodeOnFlink(dir, "cancelled", "--environment", "process", "--job-name", "To-Cancel_1")...)
			until(t, "the first units", 2*time.Minute, func() bool { return committed(filepath.Join(dir, "cancelled")) > 2 })
			if text := must(t, "cancel", "To-Cancel_1"); !strings.Contains(text, "CANCELED") {
				t.Errorf("cancel says %s", text)
			}
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(said.String(), "cancelled") {
				t.Errorf("exit code %d\n%s", code, said)
			}
			quiet(t, filepath.Join(dir, "cancelled"))
			if _, text, code := sower(t, "cancel", "To-Cancel_1"); code != exitFailed {
				t.Errorf("cancelled twice: exit code %d\n%s", code, text)
			}
		})
		t.Run("killed launcher", func(t *testing.T) {
			cmd, _ := started(t, encodeOnFlink(dir, "left", "--environment", "process")...)
			until(t, "the first units", 2*time.Minute, func() bool { return committed(filepath.Join(dir, "left")) > 2 })
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			left := flinkJobs(t)
			if len(left) != 1 {
				t.Fatalf("jobs %v, want the one that was left behind", left)
			}
			cmd, said := started(t, encodeOnFlink(dir, "left", "--environment", "process")...)
			if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "job "+left[0].Name+" of an earlier launcher") {
				t.Errorf("%v\n%s", err, said)
			}
			whole(t, "left")
			quietJobs(t, 2*time.Minute)
		})
		t.Run("another program", func(t *testing.T) {
			program, err := os.ReadFile(os.Args[0])
			if err != nil {
				t.Fatal(err)
			}
			other := filepath.Join(t.TempDir(), "other")
			if err := os.WriteFile(other, append(program, 0), 0o755); err != nil {
				t.Fatal(err)
			}
			_, text, code := sower(t, encodeOnFlink(dir, "other", "--environment", "process", "--environment-config", other)...)
			if code != exitFailed || !strings.Contains(text, "another build of this program") {
				t.Errorf("exit code %d\n%s", code, text)
			}
		})
		t.Run("pool", func(t *testing.T) {
			pool := process("flink", "pool", "--listen", "127.0.0.1:0")
			said, err := pool.StderrPipe()
			if err == nil {
				err = pool.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			var address string
			if _, err := fmt.Fscanf(said, "pool: %s\n", &address); err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, said)
			must(t, encodeOnFlink(dir, "pool", "--environment", "external", "--environment-config", address)...)
			whole(t, "pool")
			pool.Process.Signal(syscall.SIGTERM)
			if err := pool.Wait(); err != nil {
				t.Errorf("the pool: %v", err)
			}
		})
		t.Run("killed server", func(t *testing.T) {
			quietJobs(t, 2*time.Minute)
			cmd, said := started(t, encodeOnFlink(dir, "orphans", "--environment", "process")...)
			until(t, "the first units", 2*time.Minute, func() bool { return committed(filepath.Join(dir, "orphans")) > 2 })
			pids := workerProcesses(t)
			if len(pids) != 1 {
				t.Fatalf("worker processes %v", pids)
			}
			killServer(t)
			until(t, "the worker ends with its server", 2*time.Minute, func() bool { return len(workerProcesses(t)) == 0 })
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("the launcher does not notice that the server is gone")
			}
			if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(said.String(), "job server is gone") {
				t.Errorf("exit code %d\n%s", code, said)
			}
			if _, text, code := sower(t, encodeOnFlink(dir, "orphans")...); code != exitUsage || !strings.Contains(text, "sower flink up") {
				t.Errorf("without a server: exit code %d\n%s", code, text)
			}
		})
	})
}

// quiet makes sure that a job has ended: no process works for it, and nothing more is committed.
func quiet(t *testing.T, out string) {
	t.Helper()
	until(t, "Flink has no job any more", 2*time.Minute, func() bool { return len(flinkJobs(t)) == 0 })
	// One that Flink started while the job ended waits for its services, which are gone: a minute for the first, as long for the next.
	until(t, "the workers have ended", 3*time.Minute, func() bool { return len(workerProcesses(t)) == 0 })
	before := committed(out)
	time.Sleep(500 * time.Millisecond)
	if after := committed(out); after != before {
		t.Errorf("%d units were committed, and %d a moment later", before, after)
	}
	if _, err := os.Stat(filepath.Join(out, "_manifest.json")); err == nil {
		t.Error("the job ended with a manifest all the same")
	}
}

// killServer kills the job server that this test runs beside.
func killServer(t *testing.T) {
	t.Helper()
	_, port, err := net.SplitHostPort(os.Getenv(endpointVariable))
	if err != nil {
		t.Fatal(err)
	}
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range all {
		if line, err := os.ReadFile(file); err == nil && bytes.Contains(line, []byte("\x00--job-port="+port+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no job server found")
}

// TestKillFlink kills workers and launchers of runs on Flink at random moments. A launcher's job goes on without it until the one that
// resumes cancels it; at the end the files are those of an undisturbed run. SOWER_KILLS and SOWER_KILL_PICTURES make it
// longer.
func TestKillFlink(t *testing.T) {
	kills, count := setting(t, "SOWER_KILLS", 5), setting(t, "SOWER_KILL_PICTURES", 3000)
	// At 100 pictures a second, and a whole run between kills: much less, in general.
	limit := 4*time.Minute + time.Duration(kills+4)*time.Duration(max(count, 1000)/100)*time.Second
	// Some thousand units at most: what is between two kills is many of them anyway.
	size := fmt.Sprintf("--unit-bytes=%dKiB", max(16, 16*count/20000))
	onFlink(t, limit, []string{"--restarts", strconv.Itoa(2 * kills), "--heap", "1024"}, manyUnits(count, size), func(t *testing.T, dir string) {
		seed := uint64(time.Now().UnixNano())
		r := rand.New(rand.NewPCG(seed, 0))
		want := hashes(t, filepath.Join(dir, "local"))
		out := filepath.Join(dir, "killed")
		args := encodeOnFlink(dir, "killed", "--environment", "process", size)
		began := time.Now()
		must(t, encodeOnFlink(dir, "whole", "--environment", "process", size)...)
		span := time.Since(began)
		same(t, "an undisturbed run", hashes(t, filepath.Join(dir, "whole")), want)
		t.Logf("an undisturbed run takes %v; seed %d", span.Round(time.Millisecond), seed)
		workers, launchers, finished := 0, 0, 0
		for workers+launchers < kills {
			cmd, said := started(t, args...)
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			var err error
			for ended := false; !ended && workers+launchers < kills; {
				select {
				case err = <-done:
					ended = true
				case <-time.After(time.Duration(r.Int64N(int64(span) / int64(1+kills/10)))):
					if r.IntN(2) == 0 {
						if pids := workerProcesses(t); len(pids) > 0 && syscall.Kill(pids[r.IntN(len(pids))], syscall.SIGKILL) == nil {
							workers++
						}
						continue // none is up: wait again
					}
					if cmd.Process.Kill() == nil {
						launchers++
					}
					err, ended = <-done, true
				}
			}
			if err == nil && cmd.ProcessState != nil && cmd.ProcessState.Success() { // finished before the kill: begin a new corpus and go on
				finished++
				quietJobs(t, limit)
				same(t, "finished between kills", hashes(t, out), want)
				if err := os.RemoveAll(out); err != nil {
					t.Fatal(err)
				}
			} else if code := cmd.ProcessState; code != nil && code.Exited() {
				t.Logf("a launcher ended with exit code %d: %s", code.ExitCode(), said)
			}
			if workers+launchers >= kills {
				cmd.Process.Kill()
			}
		}
		quietJobs(t, limit)
		must(t, args...)
		quietJobs(t, limit)
		same(t, "after the last resume", hashes(t, out), want)
		t.Logf("%d workers and %d launchers killed, %d runs finished on the way", workers, launchers, finished)
	})
}

// quietJobs waits for jobs whose launcher was killed.
func quietJobs(t *testing.T, limit time.Duration) {
	t.Helper()
	until(t, "Flink has no job any more", limit, func() bool { return len(flinkJobs(t)) == 0 })
	until(t, "the workers have ended", 2*time.Minute, func() bool { return len(workerProcesses(t)) == 0 })
}

// TestFlinkCommands covers what the commands say without a server.
func TestFlinkCommands(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv(jobserver.LibVariable, filepath.Join(t.TempDir(), "none"))
	t.Setenv(restVariable, "")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"flink", exitUsage, "which of fetch"},
		{"flink fly", exitUsage, "no subcommand"},
		{"flink run", exitUsage, "no command"},
		{"flink run --network wide -- true", exitUsage, "auto, private or host"},
		{"flink run --network host -- true", exitFailed, "sower flink fetch"},
		{"flink up", exitFailed, "sower flink fetch"},
		{"flink up --port 70000", exitFailed, "70000"},
		{"flink down", exitOK, "no job server runs"},
		{"flink status", exitFailed, "no job server runs"},
		{"flink pool --listen nowhere", exitFailed, "--listen"},
		{"cancel", exitUsage, "one job"},
		{"cancel x", exitUsage, "--flink-rest"},
		{"cancel x --flink-rest 8081", exitUsage, "http://127.0.0.1:8081"},
		{"cancel x --flink-rest http://127.0.0.1:1", exitFailed, "does not answer"},
	} {
		stdout, stderr, code := sower(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("%s: exit code %d, want %d with %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
}

// TestForeground passes exit codes and signals on.
func TestForeground(t *testing.T) {
	lib, err := fs.Glob(os.DirFS("/bin"), "sh")
	if err != nil || len(lib) == 0 {
		t.Skip("no /bin/sh")
	}
	root := newRoot()
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + 15} {
		err := foreground(root, func(begin func(*exec.Cmd)) (*exec.Cmd, error) {
			c := exec.Command("/bin/sh", "-c", script)
			begin(c)
			return c, c.Start()
		})
		code := 0
		if e, ok := err.(*commandError); ok {
			code = e.code
		} else if err != nil {
			t.Error(err)
		}
		if code != want {
			t.Errorf("%s: exit code %d, want %d", script, code, want)
		}
	}
}
