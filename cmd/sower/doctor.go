package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/gpu/driver"
)

func newDevices() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List what can compute, as --device takes it",
		Long: `Lists the devices of this machine under the names that --device takes. "cuda" stands for all GPUs that this process sees,
"cuda:1" for one of them, "auto" for the GPUs if there are any and the CPU otherwise. sower doctor says why one is missing.`,
		Example: `  sower devices
  sower encode --input 'shards/*.tar' --output corpus --device cuda --precision float16`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			type device struct {
				Name   string `json:"name"`
				Detail string `json:"detail,omitempty"`
				Error  string `json:"error,omitempty"`
			}
			var list []device
			for _, name := range gpu.BackEnds() {
				found, err := gpu.Probe(name)
				for _, f := range found {
					if f.Detail == "" {
						dev, err := gpu.Open(name, gpu.Options{})
						if err != nil {
							list = append(list, device{Name: name, Error: err.Error()})
							continue
						}
						f.Detail = dev.String()
						dev.Close()
					}
					list = append(list, device{Name: f.Name, Detail: f.Detail, Error: f.Fault})
				}
				if err != nil {
					list = append(list, device{Name: name, Error: err.Error()})
				}
			}
			auto, _ := gpu.Auto()
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"devices": list, "auto": auto})
			}
			for _, d := range list {
				if d.Error != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "%-8s not usable: %s\n", d.Name, strings.TrimPrefix(d.Detail+", "+d.Error, ", "))
				} else {
					fmt.Fprintf(cmd.OutOrStdout(), "%-8s %s\n", d.Name, d.Detail)
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%-8s would take %s\n", "auto", auto)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newDoctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine this machine: what was found, what is missing, what to do",
		Long: `Goes through what each back end needs, from the driver's file to a matrix product whose result is compared, and says what was
tried and what to do about what is missing. Exit code 1 if a back end of this build cannot work.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			report := map[string][]driver.Check{"cpu": {cpuCheck()}}
			broken := ""
			for _, name := range gpu.BackEnds() {
				checks := gpu.Examine(name)
				if len(checks) > 0 {
					report[name] = checks
				}
				for _, c := range checks {
					if c.State == driver.Broken && broken == "" && len(checks) > 1 { // a build without a back end is no fault
						broken = name + " cannot be used: " + c.Name + " " + string(c.State)
					}
				}
			}
			if asJSON {
				if err := writeJSON(out, report); err != nil {
					return err
				}
			} else {
				for _, name := range []string{"cpu", "cuda"} {
					printChecks(out, name, report[name])
				}
			}
			if broken != "" {
				return errorf("doctor: %s", broken)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func cpuCheck() driver.Check {
	dev, err := gpu.Open("cpu", gpu.Options{})
	if err != nil {
		return driver.Check{Name: "cpu", State: driver.Broken, Detail: err.Error()}
	}
	defer dev.Close()
	c := driver.Check{Name: "cpu", State: driver.Fine, Detail: fmt.Sprintf("%s, %s/%s", dev, runtime.GOOS, runtime.GOARCH)}
	if narrow, err := gpu.Open("cpu", gpu.Options{Precision: gpu.BF16}); err == nil {
		c.Detail += "; bfloat16 works"
		narrow.Close()
	}
	return c
}

func printChecks(w io.Writer, name string, checks []driver.Check) {
	for _, c := range checks {
		fmt.Fprintf(w, "%-5s %-17s %-8s %s\n", name, c.Name, c.State, c.Detail)
		if c.Cure != "" {
			fmt.Fprintf(w, "%-32s do: %s\n", "", c.Cure)
		}
	}
}
