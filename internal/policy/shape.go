package policy

import "strings"

// shape is what the kinds of Path have in common.
type shape struct {
	segments []string // "" stands for any
	below    bool     // all below matches too
	slash    bool     // only with a slash at the end
}

var everyPath = shape{below: true}

// shapeOf wants a path that checkPath has nothing against.
func shapeOf(p Path) shape {
	text := p.Exact + p.Prefix + p.Pattern // two of them are empty
	s := shape{below: p.Prefix != "", slash: text == "/"}
	for rest := text[1:]; rest != ""; {
		var one string
		one, rest, s.slash = strings.Cut(rest, "/")
		if p.Pattern != "" && one == "**" {
			s.below = true
			break
		}
		if p.Pattern != "" && one == "*" {
			one = ""
		}
		s.segments = append(s.segments, one)
	}
	return s
}

func (s shape) folded() shape {
	lower := s
	lower.segments = make([]string, len(s.segments))
	for i, one := range s.segments {
		lower.segments[i] = string(appendLower(nil, one))
	}
	return lower
}

func shapesOf(r Rule) []shape {
	if len(r.Paths) == 0 {
		return []shape{everyPath}
	}
	shapes := make([]shape, len(r.Paths))
	for i, p := range r.Paths {
		shapes[i] = shapeOf(p)
	}
	return shapes
}

// within says whether the other shape matches every path that this one does.
func (s shape) within(other shape) bool {
	switch {
	case len(other.segments) > len(s.segments):
		return false
	case !other.below && (s.below || s.slash != other.slash || len(s.segments) != len(other.segments)):
		return false
	}
	for i, one := range other.segments {
		if one != "" && one != s.segments[i] {
			return false
		}
	}
	return true
}

// meets says whether there is a path that both shapes match.
func (s shape) meets(other shape) bool {
	shorter, longer := s, other
	if len(longer.segments) < len(shorter.segments) {
		shorter, longer = longer, shorter
	}
	for i, one := range shorter.segments {
		if other := longer.segments[i]; one != "" && other != "" && one != other {
			return false
		}
	}
	if len(shorter.segments) < len(longer.segments) {
		return shorter.below
	}
	return shorter.below || longer.below || shorter.slash == longer.slash
}
