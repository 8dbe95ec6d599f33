package jobserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asServer makes the test binary behave as Java that runs a job server: it listens on the job port, or does not.
const asServer = "SOWER_TEST_AS_JOB_SERVER"

func TestMain(m *testing.M) {
	switch os.Getenv(asServer) {
	case "":
		os.Exit(m.Run())
	case "dies":
		fmt.Println("java.lang.NoSuchMethodError: it went wrong")
		os.Exit(1)
	case "hangs":
		time.Sleep(time.Minute)
	default:
		listen()
	}
}

func listen() {
	for _, a := range os.Args {
		if port, ok := strings.CutPrefix(a, "--job-port="); ok {
			l, err := net.Listen("tcp", "127.0.0.1:"+port)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			defer l.Close()
			time.Sleep(time.Minute)
		}
	}
}

// options are those of a server in a new folder.
func options(t *testing.T) Options {
	t.Helper()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	first, err := FreeRESTPort()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Lib: "/lib", Folder: t.TempDir(), JobPort: port, RESTPort: first, Restarts: 3}
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestStartStop(t *testing.T) {
	t.Setenv(asServer, "works")
	o := options(t)
	s, err := start(context.Background(), o, os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if !Alive(s.PID) {
		t.Error("it does not run")
	}
	if _, err := start(context.Background(), o, os.Args[0]); err == nil || !strings.Contains(err.Error(), "listens on "+o.Endpoint()+" already") {
		t.Errorf("a second one: %v", err)
	}
	if err := s.Stop(); err != nil || Alive(s.PID) {
		t.Errorf("after Stop: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestFind(t *testing.T) {
	t.Setenv(asServer, "works")
	o := options(t)
	if _, err := Find(o.Folder); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before: %v", err)
	}
	o.Alone = true
	s, err := start(context.Background(), o, os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	found, err := Find(o.Folder)
	if err != nil || found.PID != s.PID || found.Options.REST() != o.REST() {
		t.Fatalf("%+v, %v", found, err)
	}
	if err := found.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := Find(o.Folder); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after: %v", err)
	}
	// Another process with the same number is not the server.
	if err := os.WriteFile(filepath.Join(o.Folder, stateFile), []byte(fmt.Sprintf(`{"PID": %d, "Begun": 1}`, os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(o.Folder); !errors.Is(err, ErrNotRunning) {
		t.Errorf("another process: %v", err)
	}
	if err := os.WriteFile(filepath.Join(o.Folder, stateFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(o.Folder); err == nil || errors.Is(err, ErrNotRunning) {
		t.Errorf("a torn file: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	t.Setenv(asServer, "dies")
	_, err := start(context.Background(), options(t), os.Args[0])
	if err == nil || !strings.Contains(err.Error(), "it went wrong") || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("%v", err)
	}
	t.Setenv(asServer, "hangs")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 300*time.Millisecond, errors.New("no patience"))
	defer cancel()
	began := time.Now()
	if _, err := start(ctx, options(t), os.Args[0]); err == nil || !strings.Contains(err.Error(), "no patience") || time.Since(began) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if _, err := start(context.Background(), options(t), "/no/such/java"); err == nil {
		t.Error("a Java that is not there was started")
	}
}

// TestEndsWithLauncher kills the program that started a server: the server must not outlive it.
func TestEndsWithLauncher(t *testing.T) {
	if os.Getenv("SOWER_TEST_LAUNCHER") != "" {
		os.Setenv(asServer, "works")
		s, err := start(context.Background(), options(t), os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("server %d\n", s.PID)
		time.Sleep(time.Minute)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestEndsWithLauncher$")
	cmd.Env = append(os.Environ(), "SOWER_TEST_LAUNCHER=1")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanf(out, "server %d\n", &pid); err != nil || !Alive(pid) {
		t.Fatalf("server %d: %v", pid, err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(30 * time.Second); Alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the server lives on")
		}
	}
}

func TestConfig(t *testing.T) {
	o := options(t)
	text := o.config()
	for _, line := range []string{
		"rest.bind-address: 127.0.0.1", "jobmanager.bind-host: 127.0.0.1", "taskmanager.bind-host: 127.0.0.1",
		fmt.Sprintf("rest.bind-port: %d-%d", o.RESTPort, o.RESTPort+RESTPorts-1), "io.tmp.dirs: " + o.Folder + "/tmp",
		"restart-strategy.type: exponential-delay", "restart-strategy.exponential-delay.attempts-before-reset-backoff: 3",
		"parallelism.default: " + strconv.Itoa(o.Parallelism),
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	o.Restarts = 0
	if text := o.config(); !strings.Contains(text, "restart-strategy.type: none\n") || strings.Contains(text, "exponential") {
		t.Errorf("without restarts:\n%s", text)
	}
	args := strings.Join(o.arguments("/conf"), " ")
	for _, want := range []string{"-XX:+ExitOnOutOfMemoryError", "-Xmx512m", "--flink-master=[local]", "--expansion-port=-1", "--flink-conf-dir=/conf", "--artifacts-dir=" + o.Folder} {
		if !strings.Contains(args, want) {
			t.Errorf("no %s in %s", want, args)
		}
	}
	o.Master = "cluster:8081"
	if args := strings.Join(o.arguments("/conf"), " "); !strings.Contains(args, "--flink-master=cluster:8081") || o.REST() != "http://cluster:8081" {
		t.Errorf("%s, %s", args, o.REST())
	}
}

func TestValidate(t *testing.T) {
	o := Options{Folder: "here", JobPort: -1, RESTPort: 65530, Parallelism: -1, Master: "http://cluster"}
	err := o.Validate()
	for _, want := range []string{`"here"`, "port -1", "65530", "parallelism -1", `"http://cluster"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in %v", want, err)
		}
	}
}

func TestJavaVersion(t *testing.T) {
	for text, want := range map[string]int{
		`openjdk version "17.0.15" 2025-04-15`: 17,
		`openjdk version "21" 2023-09-19`:      21,
		`java version "1.8.0_392"`:             8,
		`openjdk version "11.0.2"`:             11,
		`something else`:                       0,
		`version "ea"`:                         0,
	} {
		if got := javaVersion(text); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	t.Setenv("JAVA_HOME", t.TempDir())
	if _, err := Java(context.Background()); err == nil || !strings.Contains(err.Error(), "apt-get install openjdk-17-jre-headless") {
		t.Errorf("no Java: %v", err)
	}
}

// TestPrivate starts a process in a network of its own and has it look around.
func TestPrivate(t *testing.T) {
	if os.Getenv("SOWER_TEST_INSIDE") != "" {
		if err := LoopbackUp(); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.DialTimeout("tcp", l.Addr().String(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		links, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range links {
			if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
				t.Errorf("interface %s is up", i.Name)
			}
		}
		fmt.Println("uid", os.Getuid())
		return
	}
	var out bytes.Buffer
	cmd, how, err := StartPrivate(func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^TestPrivate$", "-test.v")
		c.Env = append(os.Environ(), "SOWER_TEST_INSIDE=1")
		c.Stdout, c.Stderr = &out, &out
		return c
	})
	if errors.Is(err, ErrNoNamespace) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), fmt.Sprintf("uid %d\n", os.Getuid())) {
		t.Errorf("in %s: %v\n%s", how, err, out.String())
	}
}
