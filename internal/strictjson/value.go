package strictjson

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A ParseError says where a document is wrong and why. Path comes from the document: it may hold whatever a stranger wrote, quoted.
type ParseError struct {
	Path   string // such as keys[1].kid; empty for the document itself
	Offset int    // in bytes, from 0
	Why    string
}

func (e *ParseError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("byte %d: %s", e.Offset, e.Why)
	}
	return fmt.Sprintf("%s: byte %d: %s", e.Path, e.Offset, e.Why)
}

// Parse returns the one value that text holds, as map[string]any, []any, string, json.Number, bool or nil. It is for documents without a
// fixed shape from strangers, such as the claims of a token: it is quick, and refuses also names that differ only in case from
// one another and half surrogate pairs, which readers take differently. The size cap is the caller's. The error is a *ParseError.
func Parse(text string) (any, error) {
	p := parser{text: text}
	if !utf8.ValidString(text) {
		return nil, p.fail("is not valid UTF-8")
	}
	value, err := p.value()
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return nil, err
	}
	return value, nil
}

// ParseObject is Parse for a document that must be an object.
func ParseObject(text string) (map[string]any, error) {
	value, err := Parse(text)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, &ParseError{Why: "must be an object"}
	}
	return object, nil
}

type parser struct {
	text  string
	pos   int
	depth int
}

func (p *parser) fail(why string) *ParseError { return &ParseError{Offset: p.pos, Why: why} }

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

func (p *parser) value() (any, *ParseError) {
	p.space()
	switch c := p.next(); c {
	case '{':
		if err := p.enter(); err != nil {
			return nil, err
		}
		return p.object()
	case '[':
		if err := p.enter(); err != nil {
			return nil, err
		}
		return p.array()
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

func (p *parser) object() (any, *ParseError) {
	members := make(map[string]any)
	// folded holds the folded names of those members whose own name is another. Lower-case names, which is nearly all of them, are their
	// own folded name and found in members, so most objects never need it.
	var folded map[string]struct{}
	for p.space(); p.next() != '}'; p.space() {
		if len(members) > 0 {
			if p.next() != ',' {
				return nil, p.fail("wants , or } here")
			}
			p.pos++
			p.space()
		}
		start := p.pos
		if p.next() != '"' {
			return nil, p.fail("wants a member name here")
		}
		name, err := p.string()
		if err != nil {
			return nil, err
		}
		key := fold(name)
		_, twice := members[key]
		if !twice && folded != nil {
			_, twice = folded[key]
		}
		if twice {
			return nil, (&ParseError{Offset: start, Why: "given twice (names that differ only in case count as one)"}).under(name)
		}
		if p.space(); p.next() != ':' {
			return nil, p.fail("wants : here")
		}
		p.pos++
		value, err := p.value()
		if err != nil {
			return nil, err.under(name)
		}
		if key != name {
			if folded == nil {
				folded = make(map[string]struct{})
			}
			folded[key] = struct{}{}
		}
		members[name] = value
	}
	p.leave()
	return members, nil
}

func (p *parser) array() (any, *ParseError) {
	items := []any{}
	for p.space(); p.next() != ']'; p.space() {
		if len(items) > 0 {
			if p.next() != ',' {
				return nil, p.fail("wants , or ] here")
			}
			p.pos++
		}
		item, err := p.value()
		if err != nil {
			return nil, err.within(len(items))
		}
		items = append(items, item)
	}
	p.leave()
	return items, nil
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

func (e *ParseError) under(name string) *ParseError {
	if !plain(name) {
		name = "[" + strconv.Quote(name) + "]"
	}
	return e.prefix(name)
}

func (e *ParseError) within(i int) *ParseError { return e.prefix("[" + strconv.Itoa(i) + "]") }

func (e *ParseError) prefix(step string) *ParseError {
	if e.Path != "" && e.Path[0] != '[' {
		step += "."
	}
	e.Path = step + e.Path
	return e
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
