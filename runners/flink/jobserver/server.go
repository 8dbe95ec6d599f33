package jobserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// Options say how a server runs. Its folder gets its configuration, log, temporary files and the files that jobs stage.
type Options struct {
	Lib    string // folder of the class path
	Folder string
	// JobPort is the port of Beam's job service, RESTPort the first of RESTPorts that Flink's REST services use.
	JobPort, RESTPort int
	// Parallelism is how many units a job has in work at a time if it does not say; 0 is the number of cores.
	Parallelism int
	// Restarts is how many times a failed job is started again; 0 is never.
	Restarts int
	// HeapMB bounds the server's Java heap, MiB; 0 is 512.
	HeapMB int
	// Master is host:port of a Flink cluster's REST service; "" is a cluster inside the server.
	Master string
	// Alone starts the server so that it outlives the program that starts it.
	Alone bool
}

// RESTPorts is how many jobs of one server can be seen and cancelled at a time.
const RESTPorts = 16

// Limits of waiting: for the first answer, and for a clean end.
const (
	startLimit = 90 * time.Second
	stopLimit  = 15 * time.Second
)

// mainClass is what Beam's published job server starts, too.
const mainClass = "org.apache.beam.runners.flink.FlinkJobServerDriver"

// Server is a running job server.
type Server struct {
	Options Options
	PID     int

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended
}

// Endpoint is host:port of the job service.
func (o *Options) Endpoint() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(o.JobPort)) }

// REST is the URL of Flink's REST service: of the cluster, or one with the range of ports that the server's own jobs use.
func (o *Options) REST() string {
	if o.Master != "" {
		return "http://" + o.Master
	}
	return fmt.Sprintf("http://127.0.0.1:%d-%d", o.RESTPort, o.RESTPort+RESTPorts-1)
}

// Log is the file that the server writes to, workers' messages included.
func (o *Options) Log() string { return filepath.Join(o.Folder, "jobserver.log") }

// Validate names every option that cannot work, and fills in those that are not set.
func (o *Options) Validate() error {
	var errs []error
	if o.Folder == "" || !filepath.IsAbs(o.Folder) {
		errs = append(errs, fmt.Errorf("flink: folder %q: want an absolute path", o.Folder))
	}
	if o.JobPort < 1 || o.JobPort > 65535 {
		errs = append(errs, fmt.Errorf("flink: port %d of the job service: want 1 to 65535", o.JobPort))
	}
	if o.RESTPort < 1 || o.RESTPort+RESTPorts-1 > 65535 {
		errs = append(errs, fmt.Errorf("flink: first port %d of Flink's REST services: want 1 to %d", o.RESTPort, 65535-RESTPorts+1))
	}
	if o.Parallelism < 0 || o.Restarts < 0 || o.HeapMB < 0 {
		errs = append(errs, fmt.Errorf("flink: parallelism %d, restarts %d, heap %d MiB: want at least 0", o.Parallelism, o.Restarts, o.HeapMB))
	}
	if o.Master != "" {
		if u, err := url.Parse("http://" + o.Master); err != nil || u.Port() == "" || u.Host != o.Master {
			errs = append(errs, fmt.Errorf("flink: master %q: want host:port of the cluster's REST service", o.Master))
		}
	}
	if o.Parallelism == 0 {
		o.Parallelism = runtime.NumCPU()
	}
	if o.HeapMB == 0 {
		o.HeapMB = 512
	}
	return errors.Join(errs...)
}

// Java finds the Java program and refuses one that is too old.
func Java(ctx context.Context) (string, error) {
	name := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		name = filepath.Join(home, "bin", "java")
	}
	const cure = "install a Java runtime of version 11 to 17 (Debian: apt-get install openjdk-17-jre-headless), or name one with JAVA_HOME"
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("flink: Java is missing (%w): %s", err, cure)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("flink: %s -version: %w\n%s", path, err, tail(out, 3))
	}
	if v := javaVersion(string(out)); v < 11 {
		return "", fmt.Errorf("flink: %s is version %d: %s", path, v, cure)
	}
	return path, nil
}

// javaVersion reads the feature version from what java -version prints; 0 if it does not say.
func javaVersion(text string) int {
	for i := range len(text) {
		if text[i] != '"' {
			continue
		}
		var first, second int
		if n, _ := fmt.Sscanf(text[i+1:], "%d.%d", &first, &second); n == 2 && first == 1 {
			return second // 1.8
		}
		fmt.Sscanf(text[i+1:], "%d", &first)
		return first
	}
	return 0
}

// Start starts a server and returns when it takes jobs.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	java, err := Java(ctx)
	if err != nil {
		return nil, err
	}
	if err := Verify(o.Lib); err != nil {
		return nil, err
	}
	return start(ctx, o, java)
}

func start(ctx context.Context, o Options, java string) (*Server, error) {
	if c, err := net.DialTimeout("tcp", o.Endpoint(), time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("flink: something listens on %s already: a job server that runs (sower flink status), or another program: choose another --port", o.Endpoint())
	}
	conf := filepath.Join(o.Folder, "conf")
	for _, dir := range []string{conf, filepath.Join(o.Folder, "tmp"), filepath.Join(o.Folder, "artifacts")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("flink: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(conf, "config.yaml"), []byte(o.config()), 0o600); err != nil {
		return nil, fmt.Errorf("flink: %w", err)
	}
	log, err := os.OpenFile(o.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("flink: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(java, o.arguments(conf)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.Folder, log, log
	s := &Server{Options: o, cmd: cmd, done: make(chan struct{})}
	if err := s.launch(); err != nil {
		return nil, fmt.Errorf("flink: start the job server: %w", err)
	}
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (o *Options) arguments(conf string) []string {
	master := o.Master
	if master == "" {
		master = "[local]"
	}
	return []string{
		fmt.Sprintf("-Xmx%dm", o.HeapMB), "-XX:+UseSerialGC",
		"-XX:+ExitOnOutOfMemoryError", // else one thread dies and jobs wait for ever
		"-Djava.io.tmpdir=" + filepath.Join(o.Folder, "tmp"),
		"-Dslf4j.provider=org.slf4j.simple.SimpleServiceProvider",
		"-Dorg.slf4j.simpleLogger.log.org.apache.flink=warn", "-Dorg.slf4j.simpleLogger.log.org.apache.beam.runners.flink.FlinkPipelineRunner=warn", // dumps all counters
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-cp", filepath.Join(o.Lib, "*"), mainClass,
		"--job-host=127.0.0.1", fmt.Sprintf("--job-port=%d", o.JobPort), "--artifact-port=0", "--expansion-port=-1",
		"--flink-master=" + master, "--flink-conf-dir=" + conf, "--artifacts-dir=" + filepath.Join(o.Folder, "artifacts"),
	}
}

// launch starts the process. It ends with the thread that started it, unless it is to be alone, so that thread waits for it.
func (s *Server) launch() error {
	begun := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if s.Options.Alone {
			ownSession(s.cmd)
		} else {
			ownGroup(s.cmd)
			EndWithThread(s.cmd)
		}
		err := s.cmd.Start()
		begun <- err
		if err == nil {
			s.err = s.cmd.Wait()
			close(s.done)
		}
	}()
	if err := <-begun; err != nil {
		return err
	}
	s.PID = s.cmd.Process.Pid
	return nil
}

// ready waits until the job service answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("no answer within %v", startLimit))
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if c, err := net.DialTimeout("tcp", s.Options.Endpoint(), time.Second); err == nil {
			c.Close()
			return nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			return fmt.Errorf("flink: the job server ended at once (%v); its log, %s, ends with\n%s", s.err, s.Options.Log(), s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("flink: the job server: %w; its log, %s, ends with\n%s", context.Cause(ctx), s.Options.Log(), s.logTail())
		}
	}
}

func (s *Server) logTail() string {
	text, err := os.ReadFile(s.Options.Log())
	if err != nil {
		return err.Error()
	}
	return tail(text, 15)
}

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop ends the server and with it its jobs, and waits for it.
func (s *Server) Stop() error {
	select {
	case <-s.done:
		return nil
	default:
	}
	terminate(s.PID)
	select {
	case <-s.done:
		return nil
	case <-time.After(stopLimit):
	}
	killGroup(s.PID)
	select {
	case <-s.done:
		return nil
	case <-time.After(stopLimit):
		return fmt.Errorf("flink: the job server, process %d, does not end", s.PID)
	}
}

// FreePort is a port on which nothing listens now.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("flink: no free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// FreeRESTPort is the first of RESTPorts ports on which nothing listens now.
func FreeRESTPort() (int, error) {
next:
	for first := 28081; first < 32000; first += RESTPorts {
		for p := first; p < first+RESTPorts; p++ {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
			if err != nil {
				continue next
			}
			l.Close()
		}
		return first, nil
	}
	return 0, errors.New("flink: no 16 free ports in a row between 28081 and 32000")
}
