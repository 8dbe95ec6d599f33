package resident

import (
	"fmt"
	"io"
	"sync"
)

// registry holds what this process has loaded, by key.
var registry struct {
	sync.Mutex
	open map[string]*entry
}

type entry struct {
	sync.Mutex
	value io.Closer
}

// Shared returns the value of key, opening it if this process has none: once, however many ask at a time, and again only
// after it failed. Nobody closes a shared value but Release.
func Shared[T io.Closer](key string, open func() (T, error)) (T, error) {
	registry.Lock()
	if registry.open == nil {
		registry.open = map[string]*entry{}
	}
	e := registry.open[key]
	if e == nil {
		e = new(entry)
		registry.open[key] = e
	}
	registry.Unlock()
	e.Lock()
	defer e.Unlock()
	if e.value == nil {
		value, err := open()
		if err != nil {
			var none T
			return none, err
		}
		e.value = value
	}
	value, ok := e.value.(T)
	if !ok {
		return value, fmt.Errorf("resident: %q is a %T", key, e.value)
	}
	return value, nil
}

// Release closes the value of key, if there is one, and frees its memory. Later calls open it again.
func Release(key string) error {
	registry.Lock()
	e := registry.open[key]
	delete(registry.open, key)
	registry.Unlock()
	if e == nil {
		return nil
	}
	e.Lock()
	defer e.Unlock()
	if e.value == nil {
		return nil
	}
	return e.value.Close()
}
