package jobserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// stateFile stands in the folder of a server that runs alone.
const stateFile = "server.json"

// state is what another process has to know of a server.
type state struct {
	PID     int
	Begun   uint64 // of the process, in the system's ticks: another one may get the number later
	Options Options
}

// Save writes down where the server is, for Find.
func (s *Server) Save() error {
	text, err := json.Marshal(state{PID: s.PID, Begun: begun(s.PID), Options: s.Options})
	if err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	if err := os.WriteFile(filepath.Join(s.Options.Folder, stateFile), text, 0o600); err != nil {
		return fmt.Errorf("flink: %w", err)
	}
	return nil
}

// ErrNotRunning means that no server runs whose folder this is.
var ErrNotRunning = errors.New("no job server runs")

// Find returns the server that runs in a folder, started by another process.
func Find(folder string) (*Server, error) {
	text, err := os.ReadFile(filepath.Join(folder, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("flink: %w", ErrNotRunning)
	}
	if err != nil {
		return nil, fmt.Errorf("flink: %w", err)
	}
	var st state
	if err := json.Unmarshal(text, &st); err != nil {
		return nil, fmt.Errorf("flink: %s: %w: delete the folder, and end the server yourself if it runs", filepath.Join(folder, stateFile), err)
	}
	if !Alive(st.PID) || begun(st.PID) != st.Begun {
		return nil, fmt.Errorf("flink: %w (process %d has ended; its folder is %s)", ErrNotRunning, st.PID, folder)
	}
	s := &Server{Options: st.Options, PID: st.PID, done: make(chan struct{})}
	go func() { // it is no child of this process: looked at, not waited for
		for Alive(st.PID) && begun(st.PID) == st.Begun {
			time.Sleep(100 * time.Millisecond)
		}
		close(s.done)
	}()
	return s, nil
}
