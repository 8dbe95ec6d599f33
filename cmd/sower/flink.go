package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sower/runners/flink/jobserver"
	"sower/runners/flink/rest"
	"sower/runners/worker"
)

// Variables that tell commands of a running job server; the flags --flink-endpoint and --flink-rest begin with them.
const (
	endpointVariable = "SOWER_FLINK_ENDPOINT"
	restVariable     = "SOWER_FLINK_REST"
)

func newFlink() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "flink",
		Short: "Run Beam's job server with a Flink inside it",
		Long: `Pipelines run on Flink through Beam's job server. These commands fetch its Java class path, start it with a Flink inside, and end
it. docs/flink.md has the whole, clusters of several machines included.`,
		Example: `  sower flink fetch
  sower flink run -- sower encode --runner flink --input 'shards/*.tar' --output corpus --model weights/`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{errorf("flink: no subcommand %q (have: fetch, run, up, down, status, pool)", args[0])}
			}
			return usageError{errorf("flink: which of fetch, run, up, down, status, pool?")}
		},
	}
	cmd.AddCommand(newFlinkFetch(), newFlinkRun(), newFlinkUp(), newFlinkDown(), newFlinkStatus(), newFlinkPool())
	return cmd
}

func newFlinkFetch() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Fetch the Java class path with Maven, once, and check it",
		Long: `Fetches the 163 jars of Beam's Flink runner into the cache, with Maven and the repositories that Maven is configured with, and
holds them to the digest that this program carries. SOWER_FLINK_LIB names a folder that has them already.`,
		Example: "  sower flink fetch",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lib, err := jobserver.Lib()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), limit, errorf("no end within %v", limit))
			defer cancel()
			if err := jobserver.Fetch(ctx, lib, cmd.ErrOrStderr()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d jars, digest %s\n", lib, jobserver.Jars, jobserver.Digest)
			return err
		},
	}
	cmd.Flags().DurationVar(&limit, "limit", 15*time.Minute, "give up after this time")
	return cmd
}

// serverFlags are those of a job server.
type serverFlags struct {
	options jobserver.Options
}

func (f *serverFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.IntVar(&f.options.Parallelism, "parallelism", 0, "units in work at a time, for jobs that do not say; 0 is the number of cores")
	fs.IntVar(&f.options.Restarts, "restarts", 4, "start a failed job again so often, after 1, 2, 4 … s; an hour without a failure begins the count anew")
	fs.IntVar(&f.options.HeapMB, "heap", 512, "Java heap of the server, MiB")
	fs.StringVar(&f.options.Master, "master", "", "HOST:PORT of the REST service of a Flink cluster; default: a Flink inside the server")
}

// start starts a server in a folder.
func (f *serverFlags) start(ctx context.Context, folder string, port int) (s *jobserver.Server, err error) {
	o := f.options
	o.Folder, o.JobPort = folder, port
	if o.Lib, err = jobserver.Lib(); err != nil {
		return nil, err
	}
	if o.JobPort == 0 {
		if o.JobPort, err = jobserver.FreePort(); err != nil {
			return nil, err
		}
	}
	if o.RESTPort, err = jobserver.FreeRESTPort(); err != nil {
		return nil, err
	}
	return jobserver.Start(ctx, o)
}

// openWarning is what who starts a job server on the host's network has to know.
const openWarning = "warning: Beam's job server and its worker services listen on all interfaces, without authentication: who reaches them can run programs as you. " +
	"Keep their ports behind a firewall, or use sower flink run, which has a network of its own where the system allows it.\n"

func newFlinkRun() *cobra.Command {
	var f serverFlags
	var network, logFile string
	var inside bool
	cmd := &cobra.Command{
		Use:   "run -- COMMAND [ARGUMENT…]",
		Short: "Run a command together with a job server of its own",
		Long: `Starts a job server with a Flink inside, runs the command with SOWER_FLINK_ENDPOINT and SOWER_FLINK_REST set, and ends the server
with it. The exit code is the command's.

Where the system allows it (root, or user namespaces) both get a private network with nothing but a loopback interface: Beam's
services listen without authentication, and nobody else reaches them there. The command then has no outside network either: for
object storage say --network host.`,
		Example: `  sower flink run -- sower encode --runner flink --input 'shards/*.tar' --output corpus --model weights/
  sower flink run --parallelism 8 -- sh -c 'sower encode --runner flink … && sower interleave --runner flink …'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errorf("flink run: no command: sower flink run -- COMMAND")}
			}
			if network != "auto" && network != "private" && network != "host" {
				return usageError{errorf("flink run: --network %q: want auto, private or host", network)}
			}
			if network != "host" && !inside {
				err := runPrivate(cmd)
				if !errors.Is(err, jobserver.ErrNoNamespace) || network == "private" {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "note: %v: the network is the host's\n", err)
			}
			if inside {
				if err := jobserver.LoopbackUp(); err != nil {
					return err
				}
			} else {
				fmt.Fprint(cmd.ErrOrStderr(), openWarning)
			}
			return f.runCommand(cmd, args, logFile)
		},
	}
	cmd.Flags().SetInterspersed(false)
	f.register(cmd)
	cmd.Flags().StringVar(&network, "network", "auto", "private (a network namespace), host, or auto: private where the system allows it")
	cmd.Flags().StringVar(&logFile, "log", "", "keep the server's log in this file; default: dropped, but for a command that fails")
	cmd.Flags().BoolVar(&inside, "inside", false, "this is the private network")
	hide(cmd.Flags(), "inside")
	return cmd
}

// runPrivate runs this very command line once more, in a network of its own.
func runPrivate(cmd *cobra.Command) error {
	self, err := os.Executable()
	if err != nil {
		return errorf("flink run: %w", err)
	}
	args := append([]string{"flink", "run", "--inside"}, argumentsAfter(os.Args, "run")...)
	return foreground(cmd, func(begin func(*exec.Cmd)) (*exec.Cmd, error) {
		c, _, err := jobserver.StartPrivate(func() *exec.Cmd {
			c := exec.Command(self, args...)
			begin(c)
			return c
		})
		return c, err
	})
}

// argumentsAfter are the words after a command's name.
func argumentsAfter(args []string, name string) []string {
	for i, a := range args {
		if a == name {
			return args[i+1:]
		}
	}
	return nil
}

// runCommand runs a command beside a server.
func (f *serverFlags) runCommand(cmd *cobra.Command, args []string, logFile string) (err error) {
	ctx := cmd.Context()
	folder, err := os.MkdirTemp("", "sower-flink-*")
	if err != nil {
		return errorf("flink run: %w", err)
	}
	failed := false
	defer func() {
		if failed || errors.As(err, new(*commandError)) {
			keepLog(cmd.ErrOrStderr(), folder)
			return
		}
		os.RemoveAll(folder)
	}()
	s, err := f.start(ctx, folder, 0)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.Stop())
		if logFile != "" {
			err = errors.Join(err, copyFile(s.Options.Log(), logFile))
		}
	}()
	err = foreground(cmd, func(begin func(*exec.Cmd)) (*exec.Cmd, error) {
		c := exec.Command(args[0], args[1:]...)
		c.Env = append(os.Environ(), endpointVariable+"="+s.Options.Endpoint(), restVariable+"="+s.Options.REST())
		begin(c)
		return c, c.Start()
	})
	failed = err != nil
	return err
}

// keepLog leaves a server's log and nothing else.
func keepLog(w io.Writer, folder string) {
	for _, name := range []string{"tmp", "artifacts", "conf"} {
		os.RemoveAll(filepath.Join(folder, name))
	}
	log := filepath.Join(folder, "jobserver.log")
	if st, err := os.Stat(log); err == nil && st.Size() > 0 {
		fmt.Fprintf(w, "note: the job server's log is %s\n", log)
		return
	}
	os.RemoveAll(folder)
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	return err
}

// commandError is the exit code of a command that was run, which is passed on without a word.
type commandError struct{ code int }

func (e *commandError) Error() string {
	return "the command ended with exit code " + strconv.Itoa(e.code)
}

// foreground runs a command with this program's terminal, hands signals on to it, and returns its exit code as an error. It ends with
// this program, even if that is killed.
func foreground(cmd *cobra.Command, start func(begin func(*exec.Cmd)) (*exec.Cmd, error)) error {
	// A terminal sends Ctrl-C to both; other senders mean this process.
	handed := []os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, handed...)
	defer signal.Stop(signals)
	runtime.LockOSThread() // the command ends with the thread that starts it
	defer runtime.UnlockOSThread()
	c, err := start(func(c *exec.Cmd) {
		c.Stdin, c.Stdout, c.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
		jobserver.EndWithThread(c)
	})
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGINT || !term.IsTerminal(int(os.Stdin.Fd())) {
					c.Process.Signal(s)
				}
			case <-done:
				return
			}
		}
	}()
	err = c.Wait()
	close(done)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return errorf("%s: %w", c.Path, err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &commandError{128 + int(status.Signal())}
	}
	return &commandError{exit.ExitCode()}
}

// upFolder is where the server of flink up keeps what it needs.
func upFolder() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", errorf("flink: no folder for the server (%w): set HOME or XDG_CACHE_HOME", err)
	}
	return filepath.Join(cache, "sower", "flink-server"), nil
}

func newFlinkUp() *cobra.Command {
	var f serverFlags
	var port int
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a job server that stays, on this host's network",
		Long: `Starts a job server with a Flink inside and prints what commands need to find it. It stays until sower flink down.

Flink's own sockets are on the loopback interface. Beam's are not: its job server listens on all interfaces, whatever it is told,
without authentication.`,
		Example: `  eval "$(sower flink up)"
  sower encode --runner flink --input 'shards/*.tar' --output corpus --model weights/
  sower flink down`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := upFolder()
			if err != nil {
				return err
			}
			if s, err := jobserver.Find(folder); err == nil {
				return errorf("flink up: a job server runs already, process %d at %s: sower flink down ends it", s.PID, s.Options.Endpoint())
			}
			if err := os.RemoveAll(folder); err != nil {
				return errorf("flink up: %w", err)
			}
			f.options.Alone = true
			s, err := f.start(cmd.Context(), folder, port)
			if err != nil {
				return err
			}
			if err := s.Save(); err != nil {
				return errors.Join(err, s.Stop())
			}
			fmt.Fprint(cmd.ErrOrStderr(), openWarning)
			fmt.Fprintf(cmd.ErrOrStderr(), "job server: process %d, log %s\n", s.PID, s.Options.Log())
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "export %s=%s\nexport %s=%s\n", endpointVariable, s.Options.Endpoint(), restVariable, s.Options.REST())
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().IntVar(&port, "port", 8099, "of the job server; 0 takes a free one")
	return cmd
}

func newFlinkDown() *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "End the job server of flink up, with its jobs and files",
		Example: "  sower flink down",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := upFolder()
			if err != nil {
				return err
			}
			s, err := jobserver.Find(folder)
			if errors.Is(err, jobserver.ErrNotRunning) {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "no job server runs")
				return errors.Join(err, os.RemoveAll(folder))
			}
			if err != nil {
				return err
			}
			if err := s.Stop(); err != nil {
				return err
			}
			if err := os.RemoveAll(folder); err != nil {
				return errorf("flink down: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "process %d has ended\n", s.PID)
			return err
		},
	}
}

func newFlinkStatus() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show the job server of flink up and its jobs",
		Example: "  sower flink status",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			folder, err := upFolder()
			if err != nil {
				return err
			}
			s, err := jobserver.Find(folder)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "job server: process %d at %s, log %s\n", s.PID, s.Options.Endpoint(), s.Options.Log())
			client, err := rest.New(s.Options.REST())
			if err != nil {
				return err
			}
			jobs, err := client.Jobs(cmd.Context())
			if err != nil && !errors.Is(err, rest.ErrUnreachable) {
				return err
			}
			for _, j := range jobs {
				fmt.Fprintf(w, "%s  %-10s %s, since %s\n", j.ID, j.State, j.Name, time.UnixMilli(j.Start).Format(time.DateTime))
			}
			if len(jobs) == 0 {
				fmt.Fprintln(w, "no jobs")
			}
			return nil
		},
	}
}

func newFlinkPool() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "Start worker processes for a task manager on this machine",
		Long: `Serves Beam's worker pool: the task manager beside it asks for workers, and the pool starts this program as such. Jobs use it with
--environment external --environment-config HOST:PORT. It has no authentication: who reaches it can start workers.`,
		Example: "  sower flink pool --listen 127.0.0.1:50000",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return errorf("flink pool: %w", err)
			}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return errorf("flink pool: --listen: %w", err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "pool: %s\n", l.Addr())
			return worker.NewPool(self, cmd.ErrOrStderr()).Serve(cmd.Context(), l)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:50000", "HOST:PORT to listen on")
	return cmd
}
