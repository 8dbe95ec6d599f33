package worker

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// locked is the dump of a worker that was stuck, shortened.
const locked = `goroutine 48 [sync.Mutex.Lock, 7 minutes]:
sync.(*Mutex).Lock(...)
github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*DataChannelManager).closeInstruction(0xc0001b2000, {0xc000690150, 0x1}, {0xc00010e0c0, 0x2})
github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*ScopedDataManager).Close(0xc0005e0000)

goroutine 51 [sync.Mutex.Lock, 7 minutes]:
github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*DataChannel).removeInstruction(0xc0004a0000, {0xc000690168, 0x1})
github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*DataChannelManager).closeInstruction(0xc0001b2000, {0xc000690168, 0x1}, {0xc00010e0c0, 0x2})

goroutine 59 [sync.Mutex.Lock, 7 minutes]:
github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*DataChannelManager).Open.func1({0x1, 0x2})
github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*DataChannel).terminateStreamOnError(0xc0004a0000, {0x1, 0x2})
github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*DataChannel).read(0xc0004a0000, {0x1, 0x2})

goroutine 76 [select]:
sower/gpu/resident.(*Engine).next(0xc0001b2000)
`

func TestDeadlocked(t *testing.T) {
	for name, c := range map[string]struct {
		stacks string
		want   bool
	}{
		"stuck":                {locked, true},
		"locked to a thread":   {strings.ReplaceAll(locked, "minutes]", "minutes, locked to thread]"), true},
		"not for long":         {strings.ReplaceAll(locked, "7 minutes", "1 minutes"), false},
		"just now":             {strings.ReplaceAll(locked, ", 7 minutes", ""), false},
		"no broken stream":     {strings.ReplaceAll(locked, "terminateStreamOnError", "send"), false},
		"no ended instruction": {strings.ReplaceAll(locked, "closeInstruction", "Open"), false},
		"nothing":              {"", false},
	} {
		if got := deadlocked([]byte(c.stacks), deadlockMinutes); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestStacks has all goroutines, in the form that deadlocked reads: one that waits for a lock is among them.
func TestStacks(t *testing.T) {
	var mu sync.Mutex
	mu.Lock()
	done := make(chan struct{})
	go func() { mu.Lock(); close(done) }()
	defer func() { mu.Unlock(); <-done }()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if bytes.Contains(stacks(), []byte(" [sync.Mutex.Lock]:\n")) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no goroutine that waits for a lock in\n%s", stacks())
		}
	}
}

// TestEndWhenDeadlocked leaves a healthy process alone.
func TestEndWhenDeadlocked(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	endWhenDeadlocked(ctx, time.Millisecond, func() { t.Error("it is healthy") })
}
