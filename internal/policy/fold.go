package policy

import "slices"

func haveCapitals(rules []Rule) bool {
	capital := func(p Path) bool { return hasCapital(p.Exact) || hasCapital(p.Prefix) || hasCapital(p.Pattern) }
	return slices.ContainsFunc(rules, func(r Rule) bool { return slices.ContainsFunc(r.Paths, capital) })
}

func hasCapital(s string) bool {
	for i := range len(s) {
		if isCapital(s[i]) {
			return true
		}
	}
	return false
}

// appendLower appends s to dst with its ASCII letters in lower case. Its length stays the same.
func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if isCapital(c) {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

func isCapital(c byte) bool { return 'A' <= c && c <= 'Z' }
