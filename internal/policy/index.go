package policy

import (
	"math"
	"strings"
)

// none is greater than the index of every rule.
const none = math.MaxInt

// maxPattern bounds the paths that rules may name: 512 characters, as the API does, of 4 bytes at most.
const maxPattern = 4 * 512

// node is a path in a trie of segments, and knows the first rule that matches here.
//
// The first rule in document order wins, and a rule matches when its path and its method do. So of all rules that end in one node only the
// first for each method can ever win there, and a look-up is a walk down the request's path that keeps the least index it meets. Rules that
// cannot match are never looked at, however many they are.
type node struct {
	children map[string]*node
	prefix   methods // of rules that match this path and all below it
	exact    methods // of rules that match this path alone
	slashed  methods // of rules that match this path with a slash behind it alone; "/" is the root's
}

// add must be called in document order.
func (n *node) add(r Rule, index int) {
	if len(r.Paths) == 0 {
		n.prefix.add(r.Methods, index)
	}
	for _, path := range r.Paths {
		pattern := path.Exact + path.Prefix // one of them is empty
		end, slashed := n.descend(pattern)
		switch {
		case path.Prefix != "": // of these only "/" ends with a slash
			end.prefix.add(r.Methods, index)
		case slashed:
			end.slashed.add(r.Methods, index)
		default:
			end.exact.add(r.Methods, index)
		}
	}
}

// descend returns the node of a path, and makes those that are missing. A slash at the end makes no node of its own.
func (n *node) descend(path string) (end *node, slashed bool) {
	rest := path[1:]
	for rest != "" {
		var segment string
		segment, rest, slashed = strings.Cut(rest, "/")
		child := n.children[segment]
		if child == nil {
			child = &node{}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[segment] = child
		}
		n = child
	}
	return n, slashed || path == "/"
}

// match is what a walk found: indexes of rules, or none.
type match struct {
	first int // the first rule for the path as it is
	alike int // the first rule for the path or for the same with a slash at its end, never greater than first
	// capital says that the walk ended at a capital letter: with a small one it might have gone on.
	capital bool
}

// find looks a path up: as it is spelt, or, with a buffer of maxPattern bytes to fold in, in small letters. The walk ends where no rule goes
// on, so a path of many segments costs no more than the longest path that the document names.
func (n *node) find(method, path string, buffer []byte) match {
	rest, absolute := strings.CutPrefix(path, "/")
	if !absolute {
		return match{first: none, alike: none} // Not a path of Normalize's: match nothing, rather than a rule that is meant for every path.
	}
	best, slash := n.prefix.first(method), true
	for rest != "" {
		var segment string
		segment, rest, slash = strings.Cut(rest, "/")
		var child *node
		if buffer == nil {
			child = n.children[segment]
		} else if len(segment) <= len(buffer) {
			child = n.children[string(appendLower(buffer[:0], segment))]
		}
		if child == nil {
			return match{first: best, alike: best, capital: n.children != nil && hasCapital(segment)}
		}
		n = child
		best = min(best, n.prefix.first(method))
	}
	exact, slashed := min(best, n.exact.first(method)), min(best, n.slashed.first(method))
	if slash {
		return match{first: slashed, alike: min(slashed, exact)}
	}
	return match{first: exact, alike: min(slashed, exact)}
}

// methods holds the first rule for each method; its zero value holds none.
type methods struct {
	byName map[string]int // the first rule that names the method
	every  int            // one more than the first rule that takes every method; 0 when there is none
}

// add must be called in document order. After a rule that takes every method no other can win, and none is added.
func (m *methods) add(names []string, index int) {
	if m.every != 0 {
		return
	}
	if len(names) == 0 {
		m.every = index + 1
		return
	}
	if m.byName == nil {
		m.byName = make(map[string]int, len(names))
	}
	for _, name := range names {
		if _, taken := m.byName[name]; !taken {
			m.byName[name] = index
		}
	}
}

// first returns the first rule for a method, or none. One that names the method was added before the one that takes every method.
func (m *methods) first(method string) int {
	if m.byName != nil { // most have none, and a look-up in a nil map is a call all the same
		if index, ok := m.byName[method]; ok {
			return index
		}
	}
	if m.every != 0 {
		return m.every - 1
	}
	return none
}
