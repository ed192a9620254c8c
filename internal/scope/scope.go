// Package scope owns the syntax of OAuth's scopes (RFC 6749, section 3.3). It knows texts, and not what a scope allows.
package scope

import (
	"errors"
	"slices"
	"strings"
)

// MaxLength bounds one scope, in characters.
const MaxLength = 128

var errSyntax = errors.New("must be scopes with one space between them: each 1 to 128 visible ASCII characters, without a quotation mark or backslash")

// Valid reports whether s is one scope.
func Valid(s string) bool {
	return s != "" && len(s) <= MaxLength && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == '"' || c == '\\' || c >= 0x7f })
}

// Parse reads a list of scopes as parameters and claims have it, each once. The empty text is none.
func Parse(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var list []string
	for one := range strings.SplitSeq(text, " ") {
		if !Valid(one) {
			return nil, errSyntax
		}
		if !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return list, nil
}

// Format writes what Parse reads.
func Format(list []string) string { return strings.Join(list, " ") }
