// Package jobserver runs Beam's job server for Flink, with a Flink inside it, for one machine: it fetches the Java class path that
// pom.xml names, writes the configuration, starts the server, waits until it answers, and ends it with all that it left.
package jobserver

import (
	"context"
	"crypto/sha256"
	_ "embed" // the class path
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// pom names the runner, the job server and their versions; Maven resolves what they need.
//
//go:embed pom.xml
var pom []byte

// Jars and Digest are what pom.xml resolves to: the number of files, and the SHA-256 of the lines of "sha256sum -- *.jar" in the C
// locale.
const (
	Jars   = 163
	Digest = "ea079d8e892c330a2185e5ba4e7be8a2b511d32f4b8202be18e63edbc2b7ef39"
)

// LibVariable names a folder that holds the class path already.
const LibVariable = "SOWER_FLINK_LIB"

// Lib is the folder of the class path: what SOWER_FLINK_LIB names, else one in the user's cache that changes its name with pom.xml.
func Lib() (string, error) {
	if dir := os.Getenv(LibVariable); dir != "" {
		return filepath.Abs(dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("flink: no folder for the class path (%w): name one with %s", err, LibVariable)
	}
	sum := sha256.Sum256(pom)
	return filepath.Join(cache, "sower", "flink-"+hex.EncodeToString(sum[:6])), nil
}

// ErrNoLib means that the class path is not there.
var ErrNoLib = errors.New("the Java class path of Flink is not there: fetch it with: sower flink fetch")

// Verify makes sure that dir holds the class path and nothing else.
func Verify(dir string) error { return verify(dir, Jars, Digest) }

func verify(dir string, jars int, want string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.jar"))
	if err != nil {
		return fmt.Errorf("flink: class path: %w", err)
	}
	if len(names) == 0 {
		return fmt.Errorf("flink: %s: %w", dir, ErrNoLib)
	}
	slices.Sort(names)
	all := sha256.New()
	for _, name := range names {
		sum, err := digest(name)
		if err != nil {
			return fmt.Errorf("flink: class path: %w", err)
		}
		fmt.Fprintf(all, "%s  %s\n", sum, filepath.Base(name))
	}
	if have := hex.EncodeToString(all.Sum(nil)); have != want || len(names) != jars {
		return fmt.Errorf("flink: %s holds %d jars with digest %.12s…, want %d with %.12s…: delete the folder and run: sower flink fetch", dir, len(names), have, jars, want)
	}
	return nil
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Fetch puts the class path into dir with Maven, from the repositories that Maven is configured with, unless it is there. It appears
// whole and verified, or not at all. End it early by ending ctx.
func Fetch(ctx context.Context, dir string, notes io.Writer) error {
	return fetch(ctx, dir, "mvn", Jars, Digest, notes)
}

// fetches is how often Maven is asked before its failure is believed.
const fetches = 3

func fetch(ctx context.Context, dir, maven string, jars int, want string, notes io.Writer) error {
	err := verify(dir, jars, want)
	if err == nil || !errors.Is(err, ErrNoLib) {
		return err // there, or something else is
	}
	program, err := exec.LookPath(maven)
	if err != nil {
		return fmt.Errorf("flink: Maven, which fetches the class path, is missing (%w): install it (Debian: apt-get install maven), or name a folder that holds the class path with %s", err, LibVariable)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), ".flink-*")
	if err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	defer os.RemoveAll(temp)
	file, lib := filepath.Join(temp, "pom.xml"), filepath.Join(temp, "lib")
	if err := os.WriteFile(file, pom, 0o644); err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	fmt.Fprintf(notes, "flink: fetching %d jars (157 MB) with %s\n", jars, program)
	for attempt := 1; ; attempt++ {
		// By itself Maven 3.8 waits half an hour for a connection that fell silent. What it has is kept in its own repository.
		cmd := exec.CommandContext(ctx, program, "-q", "-B", "-f", file, "-Dmaven.wagon.rto=60000", "-Daether.connector.requestTimeout=60000",
			"dependency:copy-dependencies", "-DoutputDirectory="+lib)
		ownGroup(cmd)
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			return fmt.Errorf("flink: fetching the class path: %w; what Maven said:\n%s", context.Cause(ctx), tail(out, 10))
		}
		if err == nil {
			break
		}
		if attempt == fetches {
			return fmt.Errorf("flink: fetching the class path: %s failed %d times: %w; is a Maven repository reachable? What it said:\n%s", maven, attempt, err, tail(out, 10))
		}
		fmt.Fprintf(notes, "flink: Maven failed (%v), once more\n", err)
	}
	if err := verify(lib, jars, want); err != nil {
		return fmt.Errorf("flink: what Maven fetched is not what was pinned: %w", err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty folder may stand in the way
		return fmt.Errorf("flink: %w", err)
	}
	if err := os.Rename(lib, dir); err != nil {
		if verify(dir, jars, want) == nil { // another process was faster
			return nil
		}
		return fmt.Errorf("flink: %w", err)
	}
	return nil
}

// tail is the last lines of a text.
func tail(text []byte, n int) string {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
