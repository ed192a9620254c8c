package policy

import "strings"

// shape is what the kinds of Path have in common.
type shape struct {
	segments []segment
	below    bool // all below matches too
	slash    bool // only with a slash at the end
}

type segment struct {
	text string
	any  bool // whatever it is; text means nothing then
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
		s.segments = append(s.segments, segment{text: one, any: p.Pattern != "" && one == "*"})
	}
	return s
}

func (s shape) folded() shape {
	lower := s
	lower.segments = make([]segment, len(s.segments))
	for i, one := range s.segments {
		lower.segments[i] = segment{text: string(appendLower(nil, one.text)), any: one.any}
	}
	return lower
}
