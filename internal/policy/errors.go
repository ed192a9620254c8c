package policy

import (
	"fmt"
	"strings"
)

// FieldError is one thing that is wrong with a document.
type FieldError struct {
	// Path leads to the field in the spec of an AuthPolicy, such as "rules[2].paths[0].prefix".
	Path string
	// Problem says what is wrong and what would be right. It does not repeat the value.
	Problem string
}

func (e FieldError) Error() string { return e.Path + ": " + e.Problem }

// Errors is everything that is wrong with a document, in document order.
type Errors []FieldError

func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, one := range e {
		texts[i] = one.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap lets errors.As find each FieldError.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, one := range e {
		errs[i] = one
	}
	return errs
}

// check collects errors below one path.
type check struct {
	path   string
	errors *Errors
}

// at descends to a field, or to an element: at("rules[%d]", 2), at("[%d].name", 1).
func (c check) at(format string, args ...any) check {
	path := fmt.Sprintf(format, args...)
	if c.path != "" && !strings.HasPrefix(path, "[") {
		path = "." + path
	}
	return check{path: c.path + path, errors: c.errors}
}

func (c check) fail(problem string) {
	*c.errors = append(*c.errors, FieldError{Path: c.path, Problem: problem})
}
