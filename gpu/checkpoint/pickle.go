package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A pickle is a program for a small stack machine (CPython's pickletools.py documents every opcode). This machine
// builds plain data only. Whatever names a class or a function becomes a global, and calling one yields an opaque
// object unless it is one of the few tensor constructors that torch.go knows: no code is looked up, none can run.

type (
	global struct{ module, name string }
	// object is the result of calling a global that is not a known constructor, or an instance that it built.
	object struct {
		class any
		args  any
		state any
	}
	tuple []any
	list  struct{ items []any }
	dict  struct{ keys, values []any }
	mark  struct{}
)

func (g global) String() string { return g.module + "." + g.name }

func (d *dict) get(key string) (any, bool) {
	for i := len(d.keys) - 1; i >= 0; i-- {
		if k, ok := d.keys[i].(string); ok && k == key {
			return d.values[i], true
		}
	}
	return nil, false
}

// errPickle marks damage in the pickle itself.
var errPickle = errors.New("damaged pickle")

// machine runs one pickle.
type machine struct {
	p     []byte
	at    int
	stack []any
	memo  map[int]any
	// persistent resolves a persistent id (a storage), call a REDUCE or NEWOBJ of a global.
	persistent func(id any) (any, error)
	call       func(fn, args any) (any, error)
	globals    map[string]bool // every class and function that the pickle names
}

func (m *machine) fail(format string, args ...any) error {
	return fmt.Errorf("%w at byte %d: %s", errPickle, m.at, fmt.Sprintf(format, args...))
}

func (m *machine) take(n int) ([]byte, error) {
	if n < 0 || n > len(m.p)-m.at {
		return nil, m.fail("%d bytes wanted, %d left", n, len(m.p)-m.at)
	}
	b := m.p[m.at : m.at+n]
	m.at += n
	return b, nil
}

func (m *machine) line() (string, error) {
	i := strings.IndexByte(string(m.p[m.at:min(len(m.p), m.at+1<<16)]), '\n')
	if i < 0 {
		return "", m.fail("no end of line")
	}
	s := string(m.p[m.at : m.at+i])
	m.at += i + 1
	return s, nil
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, m.fail("empty stack")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	if _, is := v.(mark); is {
		return nil, m.fail("mark where a value was due")
	}
	return v, nil
}

func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, is := m.stack[i].(mark); is {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, m.fail("no mark")
}

func (m *machine) top() (any, error) {
	if len(m.stack) == 0 {
		return nil, m.fail("empty stack")
	}
	return m.stack[len(m.stack)-1], nil
}

// number reads n little-endian bytes as an unsigned integer.
func (m *machine) number(n int) (int, error) {
	b, err := m.take(n)
	if err != nil {
		return 0, err
	}
	v := uint64(0)
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	if v > math.MaxInt64 {
		return 0, m.fail("number %d", v)
	}
	return int(v), nil
}

// run executes until STOP and returns the value on top. The work is bounded by the pickle's length: every opcode
// consumes at least one byte and pushes at most one value.
func (m *machine) run() (any, error) {
	if m.memo == nil {
		m.memo = map[int]any{}
	}
	if m.globals == nil {
		m.globals = map[string]bool{}
	}
	for {
		b, err := m.take(1)
		if err != nil {
			return nil, err
		}
		if b[0] == '.' {
			return m.pop()
		}
		if err := m.step(b[0]); err != nil {
			return nil, err
		}
	}
}

func (m *machine) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := m.number(1)
		if err == nil && v > 5 {
			err = m.fail("protocol %d", v)
		}
		return err
	case 0x95: // FRAME
		_, err := m.take(8)
		return err
	case '(':
		m.push(mark{})
	case '0': // POP
		if n := len(m.stack); n > 0 {
			m.stack = m.stack[:n-1]
			return nil
		}
		return m.fail("empty stack")
	case '1': // POP_MARK
		_, err := m.popMark()
		return err
	case '2': // DUP
		v, err := m.top()
		m.push(v)
		return err
	case 'N':
		m.push(nil)
	case 0x88:
		m.push(true)
	case 0x89:
		m.push(false)
	case ']':
		m.push(&list{})
	case '}':
		m.push(&dict{})
	case ')':
		m.push(tuple{})
	case 0x8f: // EMPTY_SET
		m.push(&list{})
	case 'J', 'K', 'M', 0x8a, 0x8b, 'G', 'I', 'L', 'F':
		return m.numeric(op)
	case 'X', 0x8c, 0x8d, 'B', 'C', 0x8e, 'U', 'T', 'S', 'V', 0x96:
		return m.text(op)
	case 'q', 'r', 'p', 0x94, 'h', 'j', 'g':
		return m.memory(op)
	case 'l', 'd', 't', 0x85, 0x86, 0x87, 'a', 'e', 's', 'u', 0x90, 0x91:
		return m.collect(op)
	case 'c', 0x93, 'Q', 'P', 'R', 0x81, 0x92, 'b', 'i', 'o':
		return m.build(op)
	default:
		return m.fail("opcode 0x%02x is not supported", op)
	}
	return nil
}

func (m *machine) numeric(op byte) error {
	switch op {
	case 'J': // BININT, signed
		b, err := m.take(4)
		if err != nil {
			return err
		}
		m.push(int(int32(binary.LittleEndian.Uint32(b))))
	case 'K', 'M':
		v, err := m.number(map[byte]int{'K': 1, 'M': 2}[op])
		if err != nil {
			return err
		}
		m.push(v)
	case 0x8a, 0x8b: // LONG1, LONG4: two's complement of any length
		n, err := m.number(map[byte]int{0x8a: 1, 0x8b: 4}[op])
		if err != nil {
			return err
		}
		b, err := m.take(n)
		if err != nil {
			return err
		}
		if n > 8 { // a number no weight file computes with: PyTorch's magic number, kept as its bytes
			m.push(string(b))
			return nil
		}
		v := int64(0)
		for i, c := range b {
			v |= int64(c) << (8 * i)
		}
		if n > 0 && n < 8 && b[n-1]&0x80 != 0 {
			v -= 1 << (8 * n)
		}
		m.push(int(v))
	case 'G': // BINFLOAT, big-endian
		b, err := m.take(8)
		if err != nil {
			return err
		}
		m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	default: // INT, LONG, FLOAT of protocol 0
		s, err := m.line()
		if err != nil {
			return err
		}
		switch {
		case op == 'I' && (s == "00" || s == "01"):
			m.push(s == "01")
		case op == 'F':
			f, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return m.fail("number %q", s)
			}
			m.push(f)
		default:
			v, err := strconv.Atoi(strings.TrimSuffix(s, "L"))
			if err != nil {
				return m.fail("number %q", s)
			}
			m.push(v)
		}
	}
	return nil
}

func (m *machine) text(op byte) error {
	if op == 'S' || op == 'V' { // STRING (quoted), UNICODE
		s, err := m.line()
		if err == nil && op == 'S' {
			s = strings.Trim(s, `'"`)
		}
		m.push(s)
		return err
	}
	width := map[byte]int{0x8c: 1, 'U': 1, 'C': 1, 'X': 4, 'T': 4, 'B': 4, 0x8d: 8, 0x8e: 8, 0x96: 8}[op]
	n, err := m.number(width)
	if err != nil {
		return err
	}
	b, err := m.take(n)
	m.push(string(b))
	return err
}

func (m *machine) memory(op byte) error {
	var key int
	var err error
	switch op {
	case 'q', 'h':
		key, err = m.number(1)
	case 'r', 'j':
		key, err = m.number(4)
	case 0x94: // MEMOIZE
		key = len(m.memo)
	default: // PUT, GET
		var s string
		if s, err = m.line(); err == nil {
			key, err = strconv.Atoi(s)
		}
	}
	if err != nil {
		return err
	}
	if op == 'h' || op == 'j' || op == 'g' {
		v, ok := m.memo[key]
		if !ok {
			return m.fail("memo %d is empty", key)
		}
		m.push(v)
		return nil
	}
	v, err := m.top()
	m.memo[key] = v
	return err
}

func (m *machine) collect(op byte) error {
	switch op {
	case 'a', 's', 0x85, 0x86, 0x87: // a fixed number of operands
		n := map[byte]int{'a': 1, 's': 2, 0x85: 1, 0x86: 2, 0x87: 3}[op]
		items := make([]any, n)
		for i := n - 1; i >= 0; i-- {
			v, err := m.pop()
			if err != nil {
				return err
			}
			items[i] = v
		}
		if op == 'a' || op == 's' {
			return m.extend(items)
		}
		m.push(tuple(items))
		return nil
	}
	items, err := m.popMark()
	if err != nil {
		return err
	}
	switch op {
	case 'l':
		m.push(&list{items})
	case 't':
		m.push(tuple(items))
	case 0x91: // FROZENSET
		m.push(&list{items})
	case 'd':
		m.push(&dict{})
		return m.extend(items)
	default: // APPENDS, SETITEMS, ADDITEMS
		return m.extend(items)
	}
	return nil
}

// extend adds items to the list or dictionary on top of the stack. Opaque objects (a subclass of dict, say) swallow
// them.
func (m *machine) extend(items []any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	switch t := v.(type) {
	case *list:
		t.items = append(t.items, items...)
	case *dict:
		if len(items)%2 != 0 {
			return m.fail("odd number of keys and values")
		}
		for i := 0; i < len(items); i += 2 {
			t.keys = append(t.keys, items[i])
			t.values = append(t.values, items[i+1])
		}
	case *object:
	default:
		return m.fail("items for a %T", v)
	}
	return nil
}

func (m *machine) build(op byte) error {
	switch op {
	case 'c': // GLOBAL
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		return m.global(module, name)
	case 0x93: // STACK_GLOBAL
		name, err := m.pop()
		if err != nil {
			return err
		}
		module, err := m.pop()
		if err != nil {
			return err
		}
		ms, ok1 := module.(string)
		ns, ok2 := name.(string)
		if !ok1 || !ok2 {
			return m.fail("names of a class that are no strings")
		}
		return m.global(ms, ns)
	case 'Q', 'P': // BINPERSID, PERSID
		var id any
		var err error
		if op == 'Q' {
			id, err = m.pop()
		} else {
			id, err = m.line()
		}
		if err != nil {
			return err
		}
		if m.persistent == nil {
			return m.fail("persistent id")
		}
		v, err := m.persistent(id)
		m.push(v)
		return err
	case 'i', 'o': // INST, OBJ
		items, err := m.popMark()
		if err != nil {
			return err
		}
		if op == 'i' {
			module, err := m.line()
			if err != nil {
				return err
			}
			name, err := m.line()
			if err != nil {
				return err
			}
			if err := m.global(module, name); err != nil {
				return err
			}
			class, _ := m.pop()
			items = append([]any{class}, items...)
		}
		if len(items) == 0 {
			return m.fail("an instance of nothing")
		}
		return m.apply(items[0], tuple(items[1:]))
	}
	arg, err := m.pop()
	if err != nil {
		return err
	}
	if op == 0x92 { // NEWOBJ_EX: class, args, kwargs; keyword arguments are dropped
		if arg, err = m.pop(); err != nil {
			return err
		}
	}
	if op == 'b' { // BUILD
		v, err := m.top()
		if o, ok := v.(*object); ok {
			o.state = arg
		}
		return err
	}
	fn, err := m.pop() // REDUCE, NEWOBJ
	if err != nil {
		return err
	}
	return m.apply(fn, arg)
}

func (m *machine) global(module, name string) error {
	g := global{module, name}
	m.globals[g.String()] = true
	m.push(g)
	return nil
}

func (m *machine) apply(fn, args any) error {
	if m.call != nil {
		v, err := m.call(fn, args)
		if err != nil {
			return err
		}
		if v != nil {
			m.push(v)
			return nil
		}
	}
	m.push(&object{class: fn, args: args})
	return nil
}
