package strictjson

import (
	"encoding/json"
	"reflect"
	"strings"
)

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// fit holds the value at hand against the type that it is to be read into, and returns what its parts are to be held against. A nil type
// takes anything.
func (p *parser) fit(t reflect.Type) reflect.Type {
	nullable := false
	for t.Kind() == reflect.Pointer {
		t, nullable = t.Elem(), true
	}
	if t.Kind() == reflect.Interface || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	got, want := kindOf(p.next()), wanted(t)
	if got == want || got == "" || got == "null" && nullable {
		return t
	}
	p.note(p.fail("must be " + want + ", not " + got))
	return nil
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

// kindOf names the kind of value that begins with c; "" when none does.
func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	if c == '-' || isDigit(c) {
		return "a number"
	}
	return ""
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
