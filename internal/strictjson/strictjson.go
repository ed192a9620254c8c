// Package strictjson reads JSON that can be read in one way only: into Go structs (Unmarshal), or into plain values where a document has no
// fixed shape (Parse). It refuses what encoding/json lets pass: members that come twice or in another case, half surrogate pairs, data
// after the value, invalid UTF-8, bottomless nesting, and, in structs, members that nobody knows and null where a value is due. It says
// where each fault is. It knows nothing of what is being read.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// MaxDepth is how deep objects and arrays may nest.
const MaxDepth = 32

// maxFaults bounds how many faults are told at once.
const maxFaults = 20

// A ParseError says where a document is wrong and why. Path comes from the document: it may hold whatever a stranger wrote, quoted.
type ParseError struct {
	Path   string // such as keys[1].kid; empty for the document itself
	Offset int    // in bytes, from 0
	Why    string
}

func (e *ParseError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("byte %d: %s", e.Offset, e.Why)
	}
	return fmt.Sprintf("%s: byte %d: %s", e.Path, e.Offset, e.Why)
}

// Parse returns the one value that text holds, as map[string]any, []any, string, json.Number, bool or nil. It is for documents without a
// fixed shape from strangers, such as the claims of a token: it is quick, and stops at the first fault. The size cap is the caller's. The
// error is a *ParseError.
func Parse(text string) (any, error) {
	p := parser{text: text}
	value, err := p.document(nil)
	if err != nil {
		return nil, err
	}
	return value, nil
}

// ParseObject is Parse for a document that must be an object.
func ParseObject(text string) (map[string]any, error) {
	value, err := Parse(text)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, &ParseError{Why: "must be an object"}
	}
	return object, nil
}

// Unmarshal reads data into v, a pointer to a struct. Numbers that end up in an any are json.Number. The error lists every fault with its
// path, as `users[2].name: must be a string, not a number`; what is not JSON at all ends the list.
func Unmarshal(data []byte, v any) error {
	p := parser{text: string(data), lists: true}
	_, fatal := p.document(reflect.TypeOf(v).Elem())
	if fatal != nil {
		p.faults = append(p.faults, fatal)
	}
	var faults []error
	for _, fault := range p.faults {
		// Without the offset: many documents were YAML before, and have no such byte.
		if fault.Path != "" {
			fault.Why = fault.Path + ": " + fault.Why
		}
		faults = append(faults, errors.New(fault.Why))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}

	// There is one way to read it now, and encoding/json knows how to fill structs.
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
