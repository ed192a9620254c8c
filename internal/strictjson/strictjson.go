// Package strictjson reads JSON that can be read in one way only, into Go structs. It refuses what encoding/json lets pass: members that
// nobody knows, that come twice or in another case, null where a value is due, data after the value, invalid UTF-8 and bottomless
// nesting. It says where each fault is, all of them at once. It knows nothing of what is being read.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may nest.
const MaxDepth = 32

// maxFaults bounds how many faults are told at once.
const maxFaults = 20

// Unmarshal reads data into v, a pointer to a struct. Numbers that end up in an any are json.Number. The error lists every fault with its
// path, as `users[2].name: must be a string, not a number`.
func Unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("not valid UTF-8")
	}
	w := walker{dec: json.NewDecoder(bytes.NewReader(data))}
	w.dec.UseNumber()
	err := w.value(reflect.TypeOf(v).Elem(), "", 0)
	if err == nil {
		if _, err = w.dec.Token(); err == io.EOF {
			err = nil
		} else {
			err = errors.New("there is something after the value")
		}
	} else if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("ends too early")
	}
	if err = errors.Join(append(w.faults, err)...); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		var mismatch *json.UnmarshalTypeError
		if errors.As(err, &mismatch) {
			return fmt.Errorf("%s: must be a whole number in range", mismatch.Field)
		}
		return err
	}
	return nil
}

type walker struct {
	dec    *json.Decoder
	faults []error
}

func (w *walker) fault(path, format string, args ...any) {
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, at(path, fmt.Sprintf(format, args...)))
	}
}

func at(path, message string) error {
	if path == "" {
		return errors.New(message)
	}
	return errors.New(path + ": " + message)
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// value walks over one value that should fit t; a nil t takes anything. It returns an error only where reading cannot go on.
func (w *walker) value(t reflect.Type, path string, depth int) error {
	if depth > MaxDepth {
		return at(path, fmt.Sprintf("nested more than %d deep", MaxDepth))
	}
	nullable := t == nil
	for t != nil && t.Kind() == reflect.Pointer {
		t, nullable = t.Elem(), true
	}
	if t != nil && (t.Kind() == reflect.Interface || reflect.PointerTo(t).Implements(unmarshaler)) {
		t, nullable = nil, true
	}
	token, err := w.dec.Token()
	if err != nil {
		return err
	}
	if t != nil {
		if got, want := kindOf(token), wanted(t); got != want && (got != "null" || !nullable) {
			w.fault(path, "must be %s, not %s", want, got)
			t = nil
		}
	}
	switch token {
	case json.Delim('{'):
		return w.object(t, path, depth)
	case json.Delim('['):
		return w.array(t, path, depth)
	}
	return nil
}

func (w *walker) object(t reflect.Type, path string, depth int) error {
	seen := map[string]bool{}
	for w.dec.More() {
		token, err := w.dec.Token()
		if err != nil {
			return err
		}
		name := token.(string)
		member := name
		if len(member) > 64 {
			member = member[:64] + "…"
		}
		if path != "" {
			member = path + "." + member
		}
		if seen[name] {
			w.fault(member, "given twice")
		}
		seen[name] = true
		var of reflect.Type
		if t != nil {
			var known bool
			if of, known = memberOf(t, name); !known {
				w.fault(member, "unknown field")
			}
		}
		if err := w.value(of, member, depth+1); err != nil {
			return err
		}
	}
	_, err := w.dec.Token() // the closing brace
	return err
}

func (w *walker) array(t reflect.Type, path string, depth int) error {
	var of reflect.Type
	if t != nil {
		of = t.Elem()
	}
	for i := 0; w.dec.More(); i++ {
		if err := w.value(of, fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
			return err
		}
	}
	_, err := w.dec.Token() // the closing bracket
	return err
}

// memberOf returns the type of the member that has exactly this name. The structs read here have plain fields with plain tags.
func memberOf(t reflect.Type, name string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	for field := range t.Fields() {
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag == name && name != "" && name != "-" {
			return field.Type, true
		}
	}
	return nil, false
}

func kindOf(token json.Token) string {
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return "an object"
		}
		return "a list"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a boolean"
	default:
		return "null"
	}
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	default:
		return "a number"
	}
}
