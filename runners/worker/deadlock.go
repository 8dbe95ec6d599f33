package worker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"time"
)

// Beam's harness (2.77.0) can lock itself up: when a data stream breaks, DataChannel.read holds the channel's lock and wants the manager's
// (terminateStreamOnError), while an instruction that ends holds the manager's and wants the channel's (closeInstruction,
// removeInstruction). From then on the worker answers nothing, keeps its model, and its job waits for it without end. Seen with nine jobs
// side by side in one Flink of 1 GB.

// deadlockMinutes is how long both sides must have waited: nothing else makes both wait.
const deadlockMinutes = 2

// maxStacks bounds the memory that the stacks of all goroutines take.
const maxStacks = 64 << 20

// DeadlockPoll is how often it is looked for: all goroutines stand still for a moment.
const DeadlockPoll = time.Minute

// Deadlocked reports whether Beam's harness in this process has locked itself up.
func Deadlocked() bool { return deadlocked(stacks(), deadlockMinutes) }

// endWhenDeadlocked calls end when Beam's harness has locked itself up.
func endWhenDeadlocked(ctx context.Context, every time.Duration, end func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if Deadlocked() {
			end()
			return
		}
	}
}

// stacks are those of all goroutines, as a panic prints them.
func stacks() []byte {
	for size := 1 << 18; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size || size >= maxStacks {
			return buf[:n]
		}
	}
}

// waiting is the head of a goroutine that has waited for a lock for minutes.
var waiting = regexp.MustCompile(`^goroutine \d+ \[sync\.(?:RW)?Mutex\.R?Lock, (\d+) minutes[\],]`)

// deadlocked reports whether both sides of the inversion wait, each for so many minutes.
func deadlocked(stacks []byte, minutes int) bool {
	var instruction, stream bool
	for _, one := range bytes.Split(stacks, []byte("\n\n")) {
		head := waiting.FindSubmatch(one)
		if head == nil {
			continue
		}
		if n, err := strconv.Atoi(string(head[1])); err != nil || n < minutes {
			continue
		}
		instruction = instruction || bytes.Contains(one, []byte("harness.(*DataChannelManager).closeInstruction("))
		stream = stream || bytes.Contains(one, []byte("harness.(*DataChannel).terminateStreamOnError("))
	}
	return instruction && stream
}

// endDeadlocked ends this process: the runner starts another, which finds what is committed.
func endDeadlocked() {
	fmt.Fprintln(os.Stderr, "sower: worker: Beam's data channels wait for each other, so it ends; what is committed stays")
	os.Exit(ExitFailed)
}
