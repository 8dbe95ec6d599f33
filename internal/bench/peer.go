package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Ready is the first line of a peer: what it is and how it computes.
type Ready struct {
	Ready     bool    `json:"ready"`
	Name      string  `json:"name"`
	Version   string  `json:"version"`
	Precision string  `json:"precision"`
	Threads   int     `json:"threads"`
	Flags     string  `json:"flags,omitempty"`
	CPU       string  `json:"cpu,omitempty"`
	CPUFlags  string  `json:"cpu_flags,omitempty"`
	Load      float64 `json:"load_seconds"`
}

// Answer is what a peer says of one call.
type Answer struct {
	Images  int     `json:"images"`
	Seconds float64 `json:"seconds"`
	Codes   [][]int `json:"codes"`
	// Memory and Generate are those of trainers: peak bytes of the process, tokens a second, the loss of a step.
	Memory   int64   `json:"peak_bytes"`
	Loss     float64 `json:"loss"`
	Generate float64 `json:"generate_tokens_per_second"`
}

// Peer is a process that encodes the same pictures with another engine (docs/benchmarks/peers/README.md): it says a line
// of Ready, then reads a number of images a line and answers with a line of Answer, until its input ends.
type Peer struct {
	Ready Ready
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
}

// StartPeer runs a command of words separated by spaces and waits until it is ready.
func StartPeer(ctx context.Context, command string) (*Peer, error) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return nil, errors.New("bench: an empty command to run against")
	}
	p := &Peer{cmd: exec.CommandContext(ctx, words[0], words[1:]...)}
	p.cmd.Stderr = os.Stderr
	p.cmd.WaitDelay = 5 * time.Second
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", command, err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("bench: %s: %w", command, err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", command, err)
	}
	if err := p.read(&p.Ready); err != nil || !p.Ready.Ready {
		if err == nil {
			err = errors.New("its first line does not say that it is ready")
		}
		p.Close()
		return nil, fmt.Errorf("bench: %s: %w", command, err)
	}
	return p, nil
}

func (p *Peer) read(v any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("it ended, or closed its output: %w", err)
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("line %.80q is no answer: %w", line, err)
	}
	return nil
}

// Encode has the peer encode the next n images in one call.
func (p *Peer) Encode(n int) (*Answer, error) {
	if _, err := fmt.Fprintln(p.in, n); err != nil {
		return nil, fmt.Errorf("bench: ask %s: %w", p.Ready.Name, err)
	}
	a := new(Answer)
	if err := p.read(a); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", p.Ready.Name, err)
	}
	if a.Images != n || !(a.Seconds > 0) {
		return nil, fmt.Errorf("bench: %s: encoded %d images in %v s, want %d in more than 0", p.Ready.Name, a.Images, a.Seconds, n)
	}
	return a, nil
}

// Close ends the peer.
func (p *Peer) Close() {
	p.in.Close()
	_ = p.cmd.Wait() // its answers are what counts
}

// warmUp is the number of the picture that is encoded before the clock runs.
const warmUp = 1 << 32

// Pictures makes n pictures of bytes that follow from their number alone: byte j of picture i is the upper byte of
// mix(mix(i·g + g) + j·g), with splitmix64's g and mix. Engines that are compared encode the same ones. [n size size 3]
func Pictures(first, n, size int) []byte {
	const golden = 0x9e3779b97f4a7c15
	mix := func(x uint64) uint64 {
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
	rgb := make([]byte, 0, n*size*size*3)
	for i := range n {
		start := mix(uint64(first+i)*golden + golden)
		for j := range size * size * 3 {
			rgb = append(rgb, byte(mix(start+uint64(j)*golden)>>56))
		}
	}
	return rgb
}
