package policy

import (
	"math"
	"strings"
)

// none is greater than the index of every rule.
const none = math.MaxInt

// maxPattern bounds the paths that rules may name: 512 characters, as the API does, of 4 bytes at most.
const maxPattern = 4 * 512

// index finds the first rule for a request without looking at those that cannot match: first by the labels of the host, then by the
// segments of the path.
type index struct {
	every *tree   // rules without hosts
	named *labels // rules with hosts; nil when there are none
	// capitals says that a rule has a capital letter, so that trees are folded apart.
	capitals bool
}

// tree holds rules by their paths.
type tree struct {
	spelt  *node
	folded *node // the same in small letters; spelt itself when no rule of the document has a capital letter
}

func newIndex(rules []Rule) *index {
	ix := &index{capitals: haveCapitals(rules)}
	ix.every = ix.newTree()
	for i, r := range rules {
		shapes := shapesOf(r)
		if len(r.Hosts) == 0 {
			ix.every.add(shapes, r.Methods, i)
		}
		for _, host := range r.Hosts {
			if ix.named == nil {
				ix.named = &labels{}
			}
			place := ix.named.place(host)
			if *place == nil {
				*place = ix.newTree()
			}
			(*place).add(shapes, r.Methods, i)
		}
	}
	return ix
}

func (ix *index) newTree() *tree {
	t := &tree{spelt: newNode()}
	t.folded = t.spelt
	if ix.capitals {
		t.folded = newNode()
	}
	return t
}

// add must be called in document order.
func (t *tree) add(shapes []shape, methods []string, index int) {
	for _, s := range shapes {
		t.spelt.add(s, methods, index)
		if t.folded != t.spelt {
			t.folded.add(s.folded(), methods, index)
		}
	}
}

// lookup is one way to read a request, and what is found of it: indexes of rules, or none.
type lookup struct {
	method string
	buffer []byte // nil: read the path as it is spelt; maxPattern bytes: read it in small letters
	first  int    // the first rule for the path as it is
	alike  int    // the first rule for the path or for the same with a slash at its end, never greater than first
	// capital says that a walk ended at a capital letter: with a small one it might have gone on.
	capital bool
}

func (ix *index) find(host, path, method string, buffer []byte) lookup {
	l := lookup{method: method, buffer: buffer, first: none, alike: none}
	rest, absolute := strings.CutPrefix(path, "/")
	if !absolute {
		return l // Not a path of Normalize's: match nothing, rather than a rule that is meant for every path.
	}
	for n, more := ix.named, host != ""; n != nil; {
		if !more {
			l.tree(n.exact, rest)
			break
		}
		// The name has more labels than have led here, so that it is below this one.
		l.tree(n.below, rest)
		var label string
		host, label, more = cutLast(host)
		n = n.children[label]
	}
	l.tree(ix.every, rest)
	return l
}

func (l *lookup) tree(t *tree, rest string) {
	switch {
	case t == nil:
	case l.buffer != nil:
		l.walk(t.folded, rest, true)
	default:
		l.walk(t.spelt, rest, true)
	}
}

// node is a path in a trie of segments, and knows the first rule that matches here.
//
// The first rule in document order wins, and a rule matches when its host, its path and its method do. So of all rules that end in one node only
// the first for each method can ever win there, and a look-up is a walk down the request's path that keeps the least index it meets. It parts
// where a pattern has a segment for any, and leaves out what only holds later rules than were met already.
type node struct {
	children map[string]*node
	any      *node   // the segment that stands for any
	least    int     // of the rules here and below, or none
	prefix   methods // of rules that match this path and all below it
	exact    methods // of rules that match this path alone
	slashed  methods // of rules that match this path with a slash behind it alone; "/" is the root's
}

func newNode() *node { return &node{least: none} }

// add must be called in document order.
func (n *node) add(s shape, methods []string, index int) {
	n.least = min(n.least, index)
	for _, segment := range s.segments {
		n = n.child(segment)
		n.least = min(n.least, index)
	}
	switch {
	case s.below:
		n.prefix.add(methods, index)
	case s.slash:
		n.slashed.add(methods, index)
	default:
		n.exact.add(methods, index)
	}
}

func (n *node) child(segment string) *node {
	if segment == "" {
		if n.any == nil {
			n.any = newNode()
		}
		return n.any
	}
	child := n.children[segment]
	if child == nil {
		child = newNode()
		if n.children == nil {
			n.children = map[string]*node{}
		}
		n.children[segment] = child
	}
	return child
}

// walk looks up what is left of a path, and whether there was a slash before it. It ends where no rule goes on, so a path of many segments costs
// no more than the longest path that the document names.
func (l *lookup) walk(n *node, rest string, slash bool) {
	for n.least < l.first {
		l.met(n.prefix.first(l.method))
		if rest == "" {
			exact, slashed := n.exact.first(l.method), n.slashed.first(l.method)
			if slash {
				l.met(slashed)
			} else {
				l.met(exact)
			}
			l.alike = min(l.alike, exact, slashed)
			return
		}
		var text string
		text, rest, slash = strings.Cut(rest, "/")
		if n.any != nil {
			l.walk(n.any, rest, slash)
		}
		var child *node
		if l.buffer == nil {
			child = n.children[text]
		} else if len(text) <= len(l.buffer) {
			child = n.children[string(appendLower(l.buffer[:0], text))]
		}
		if child == nil {
			l.capital = l.capital || n.children != nil && hasCapital(text)
			return
		}
		n = child
	}
}

// met takes a rule that matches the path as it is.
func (l *lookup) met(index int) {
	l.first, l.alike = min(l.first, index), min(l.alike, index)
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
