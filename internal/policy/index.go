package policy

import (
	"math"
	"strings"
)

// none is greater than the index of every rule.
const none = math.MaxInt

// node is a path in a trie of segments, and knows the first rule that matches here.
//
// The first rule in document order wins, and a rule matches when its path and its method do. So of all rules that end in one node only the
// first for each method can ever win there, and a look-up is a walk down the request's path that keeps the least index it meets. Rules that
// cannot match are never looked at, however many they are.
type node struct {
	children map[string]*node
	prefix   methods // of rules that match this path and all below it
	exact    methods // of rules that match this path alone
}

// add must be called in document order.
func (n *node) add(r Rule, index int) {
	if len(r.Paths) == 0 {
		n.prefix.add(r.Methods, index)
	}
	for _, path := range r.Paths {
		switch {
		case path.Exact != "":
			n.descend(path.Exact).exact.add(r.Methods, index)
		case path.Prefix == "/":
			n.prefix.add(r.Methods, index)
		default:
			n.descend(path.Prefix).prefix.add(r.Methods, index)
		}
	}
}

// descend returns the node of a path, and makes those that are missing. A slash at the end is an empty segment: another path.
func (n *node) descend(path string) *node {
	for segment := range strings.SplitSeq(path[1:], "/") {
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
	return n
}

// first returns the first rule that matches, or none. The walk ends where no rule goes on, so a path of many segments costs no more than
// the longest path that the document names.
func (n *node) first(method, path string) int {
	rest, absolute := strings.CutPrefix(path, "/")
	if !absolute {
		return none // Not a path of Normalize's: match nothing, rather than a rule that is meant for every path.
	}
	best := n.prefix.first(method)
	for more := true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if n = n.children[segment]; n == nil {
			return best
		}
		best = min(best, n.prefix.first(method))
	}
	return min(best, n.exact.first(method))
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
	if index, ok := m.byName[method]; ok {
		return index
	}
	if m.every != 0 {
		return m.every - 1
	}
	return none
}
