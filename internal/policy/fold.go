package policy

import "slices"

// compilePaths builds the tries. There is a second one only where rules have capital letters.
func (p *Program) compilePaths(rules []Rule) {
	p.paths = &node{}
	p.folded = p.paths
	for i, r := range rules {
		p.paths.add(r, i)
	}
	capital := func(path Path) bool { return hasCapital(path.Exact) || hasCapital(path.Prefix) }
	if !slices.ContainsFunc(rules, func(r Rule) bool { return slices.ContainsFunc(r.Paths, capital) }) {
		return
	}
	p.folded = &node{}
	for i, r := range rules {
		lower := r
		lower.Paths = make([]Path, len(r.Paths))
		for j, path := range r.Paths {
			lower.Paths[j] = Path{Exact: string(appendLower(nil, path.Exact)), Prefix: string(appendLower(nil, path.Prefix))}
		}
		p.folded.add(lower, i)
	}
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
