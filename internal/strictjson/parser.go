package strictjson

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parser walks over a document once. It returns a *ParseError where reading cannot go on, or is not to.
type parser struct {
	text   string
	pos    int
	depth  int
	lists  bool          // go on where that is possible, and note the fault
	faults []*ParseError // noted so far, in the document's order
}

// member is one of an object.
type member struct {
	folded, name string
	value        any
}

// few is how many members of an object are held before it becomes a map: as many as it is no slower to go over. Nearly all objects have fewer, and a
// map whose size is known takes one piece of memory instead of three.
const few = 12

// document reads the whole text. What it holds has to fit t; a nil t takes anything.
func (p *parser) document(t reflect.Type) (any, *ParseError) {
	if !utf8.ValidString(p.text) {
		return nil, p.fail("is not valid UTF-8")
	}
	value, err := p.value(t)
	if err == nil {
		err = p.end()
	}
	return value, err
}

func (p *parser) note(fault *ParseError) {
	if len(p.faults) < maxFaults {
		p.faults = append(p.faults, fault)
	}
}

// below puts a step before the paths of all that went wrong in one part of a value: of err, and of the faults from the given one on.
func (p *parser) below(step string, from int, err *ParseError) {
	if err != nil {
		err.prefix(step)
	}
	for _, fault := range p.faults[from:] {
		fault.prefix(step)
	}
}

func (p *parser) fail(why string) *ParseError { return &ParseError{Offset: p.pos, Why: why} }

func (p *parser) wants(what string) *ParseError {
	if p.pos >= len(p.text) {
		return p.fail("ends too early")
	}
	return p.fail("wants " + what + " here")
}

func (p *parser) space() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// next returns the byte at hand, or 0 at the end: no JSON token begins with NUL, so 0 falls to whoever complains.
func (p *parser) next() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) end() *ParseError {
	if p.space(); p.pos < len(p.text) {
		return p.fail("something follows the value")
	}
	return nil
}

func (p *parser) value(t reflect.Type) (any, *ParseError) {
	p.space()
	if t != nil {
		t = p.fit(t)
	}
	switch c := p.next(); c {
	case '{':
		if err := p.enter(); err != nil {
			return nil, err
		}
		return p.object(t)
	case '[':
		if err := p.enter(); err != nil {
			return nil, err
		}
		return p.array(t)
	case '"':
		return p.stringValue()
	case 't':
		return true, p.literal("true")
	case 'f':
		return false, p.literal("false")
	case 'n':
		return nil, p.literal("null")
	default:
		if c == '-' || isDigit(c) {
			return p.number()
		}
		if p.pos >= len(p.text) {
			return nil, p.fail("ends too early")
		}
		return nil, p.fail("is not JSON")
	}
}

// enter steps over the opening bracket, leave over the closing one.
func (p *parser) enter() *ParseError {
	if p.depth++; p.depth > MaxDepth {
		return p.fail("nested more than " + strconv.Itoa(MaxDepth) + " deep")
	}
	p.pos++
	return nil
}

func (p *parser) leave() {
	p.depth--
	p.pos++
}

func (p *parser) object(t reflect.Type) (any, *ParseError) {
	var hold [few + 1]member
	held := hold[:0]
	var members object
	for p.space(); p.next() != '}'; p.space() {
		if members.names != nil || len(held) > 0 {
			if p.next() != ',' {
				return nil, p.wants(", or }")
			}
			p.pos++
			p.space()
		}
		start := p.pos
		if p.next() != '"' {
			return nil, p.wants("a member name")
		}
		name, err := p.string()
		if err != nil {
			return nil, err
		}
		folded := fold(name)
		if twice, same := members.has(held, folded, name); twice {
			fault := &ParseError{Path: stepTo(name), Offset: start, Why: "given twice"}
			if !same {
				fault.Why += " (names that differ only in case count as one)"
			}
			if !p.lists {
				return nil, fault
			}
			p.note(fault)
		}
		var of reflect.Type
		if t != nil {
			var known bool
			if of, known = memberOf(t, name); !known {
				p.note(&ParseError{Path: stepTo(name), Offset: start, Why: "unknown field"})
			}
		}
		if p.space(); p.next() != ':' {
			return nil, p.wants(":")
		}
		p.pos++
		before := len(p.faults)
		value, err := p.value(of)
		if err != nil || len(p.faults) > before {
			p.below(stepTo(name), before, err)
		}
		if err != nil {
			return nil, err
		}
		if held = append(held, member{folded, name, value}); len(held) > few {
			members.take(held)
			held = held[:0]
		}
	}
	p.leave()
	members.take(held)
	return members.values, nil
}

// object is what has become a map of an object that is being read.
type object struct {
	values map[string]any
	names  map[string]struct{} // folded
}

// has says whether a member is there, taken or held, under this name or one that folds alike, and whether it is under this very name.
func (o *object) has(held []member, folded, name string) (twice, same bool) {
	for i := range held {
		if held[i].folded == folded {
			twice, same = true, same || held[i].name == name
		}
	}
	if _, taken := o.names[folded]; taken {
		twice = true
		if _, taken = o.values[name]; taken {
			same = true
		}
	}
	return twice, same
}

// take takes all that are held. Where that is few, there are no more to come, and their names have been told apart already.
func (o *object) take(held []member) {
	if o.values == nil {
		o.values = make(map[string]any, len(held))
	}
	if len(held) > few && o.names == nil {
		o.names = make(map[string]struct{}, 2*few)
	}
	for i := range held {
		if o.names != nil {
			o.names[held[i].folded] = struct{}{}
		}
		o.values[held[i].name] = held[i].value
	}
}

func (p *parser) array(t reflect.Type) (any, *ParseError) {
	var hold [few]any // so that a short one takes one piece of memory
	items := hold[:0]
	var of reflect.Type
	if t != nil {
		of = t.Elem()
	}
	for p.space(); p.next() != ']'; p.space() {
		if len(items) > 0 {
			if p.next() != ',' {
				return nil, p.wants(", or ]")
			}
			p.pos++
		}
		before := len(p.faults)
		item, err := p.value(of)
		if err != nil || len(p.faults) > before {
			p.below("["+strconv.Itoa(len(items))+"]", before, err)
		}
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	p.leave()
	return slices.Clone(items), nil
}

func (p *parser) literal(word string) *ParseError {
	if !strings.HasPrefix(p.text[p.pos:], word) {
		return p.fail("is not JSON")
	}
	p.pos += len(word)
	return nil
}

func (p *parser) number() (any, *ParseError) {
	start := p.pos
	if p.next() == '-' {
		p.pos++
	}
	if p.next() == '0' {
		p.pos++
	} else if !p.digits() {
		return nil, p.fail("is not a JSON number")
	}
	if p.next() == '.' {
		if p.pos++; !p.digits() {
			return nil, p.fail("is not a JSON number")
		}
	}
	if c := p.next(); c == 'e' || c == 'E' {
		if p.pos++; p.next() == '+' || p.next() == '-' {
			p.pos++
		}
		if !p.digits() {
			return nil, p.fail("is not a JSON number")
		}
	}
	return json.Number(p.text[start:p.pos]), nil
}

func (p *parser) digits() bool {
	start := p.pos
	for isDigit(p.next()) {
		p.pos++
	}
	return p.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (p *parser) stringValue() (any, *ParseError) {
	s, err := p.string()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// string reads a string, which shares memory with the text as long as it holds no escapes.
func (p *parser) string() (string, *ParseError) {
	p.pos++
	start := p.pos
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			p.pos++
			return p.text[start : p.pos-1], nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", p.fail("holds a raw control character")
		default:
			p.pos++
		}
	}
	return "", p.fail("ends too early")
}

func (p *parser) escaped(start int) (string, *ParseError) {
	out := []byte(p.text[start:p.pos])
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		switch {
		case c == '"':
			p.pos++
			return string(out), nil
		case c < ' ':
			return "", p.fail("holds a raw control character")
		case c != '\\':
			out = append(out, c)
			p.pos++
			continue
		}
		p.pos++
		if p.next() == 'u' {
			r, err := p.codePoint()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		i := strings.IndexByte(`"\/bfnrt`, p.next())
		if i < 0 {
			return "", p.fail("holds an unknown escape")
		}
		out = append(out, "\"\\/\b\f\n\r\t"[i])
		p.pos++
	}
	return "", p.fail("ends too early")
}

// codePoint reads uXXXX, and the \uXXXX of the second half where the first is half of a surrogate pair.
func (p *parser) codePoint() (rune, *ParseError) {
	first, err := p.hex()
	if err != nil {
		return 0, err
	}
	if first < 0xD800 || first > 0xDFFF {
		return first, nil
	}
	if first < 0xDC00 && strings.HasPrefix(p.text[p.pos:], `\u`) {
		p.pos++
		second, err := p.hex()
		if err != nil {
			return 0, err
		}
		if 0xDC00 <= second && second <= 0xDFFF {
			return (first-0xD800)<<10 + (second - 0xDC00) + 0x10000, nil
		}
	}
	return 0, p.fail("holds half a surrogate pair")
}

func (p *parser) hex() (rune, *ParseError) {
	if len(p.text)-p.pos < 5 {
		return 0, p.fail("holds an incomplete escape")
	}
	var r rune
	for _, c := range []byte(p.text[p.pos+1 : p.pos+5]) {
		switch {
		case isDigit(c):
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, p.fail("holds an incomplete escape")
		}
	}
	p.pos += 5
	return r, nil
}

// fold returns the one name that stands for all that differ from name only in case. It is name itself, without a new allocation, when
// that is ASCII without capitals.
func fold(name string) string {
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return strings.Map(foldRune, name)
		}
	}
	return name
}

func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	// The least of an orbit with ASCII letters is the capital (the Kelvin sign folds to K): fold to the small one.
	if 'A' <= least && least <= 'Z' {
		return least - 'A' + 'a'
	}
	return least
}

// maxStep bounds what a path shows of one name.
const maxStep = 64

// stepTo is the member of this name as a step of a path.
func stepTo(name string) string {
	shown, rest := name, ""
	if len(name) > maxStep {
		shown, rest = name[:maxStep], "…"
	}
	if !plain(shown) {
		return "[" + strconv.Quote(shown) + rest + "]"
	}
	return shown + rest
}

func (e *ParseError) prefix(step string) {
	if e.Path != "" && e.Path[0] != '[' {
		step += "."
	}
	e.Path = step + e.Path
}

func plain(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && c != '-' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return name != ""
}
