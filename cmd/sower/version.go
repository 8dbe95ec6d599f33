package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/schemas"
)

// version is the release; builds from source add the revision that Go recorded.
const version = "0.1.0"

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// revision is the commit of this build, "" when Go did not record one (go run, or no repository).
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	return rev + dirty
}

// tool is how manifests name this program.
func tool() string { return "sower " + version }

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, build and back ends",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			line := tool()
			if r := revision(); r != "" {
				line += " (" + r + ")"
			}
			fmt.Fprintln(out, line)
			fmt.Fprintf(out, "numerics version %d, %s, %s/%s, %d cores\n", schemas.NumericsVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
			for _, name := range gpu.BackEnds() {
				dev, err := gpu.Open(name, gpu.Options{})
				if err != nil {
					fmt.Fprintf(out, "device %s: %v\n", name, err)
					continue
				}
				fmt.Fprintf(out, "device %s\n", dev)
				dev.Close()
			}
			return nil
		},
	}
}
