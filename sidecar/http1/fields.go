package http1

import (
	"net/http"
	"net/textproto"
	"strings"
)

// maxFields is how many header fields a message may have here.
const maxFields = 64

// Fields are the header fields of a message, in the order in which they came. Names are canonical, as net/http has them. They are good for as
// long as the message.
type Fields struct {
	names, values [maxFields]string
	n             int
}

// Len is how many there are.
func (f *Fields) Len() int { return f.n }

// At returns one of them.
func (f *Fields) At(i int) (name, value string) { return f.names[i], f.values[i] }

// isElsewhere reports whether a field is one of those that net/http had better see to: they are about the connection, about how the body is sent, or
// change what other fields mean.
func isElsewhere(name string) bool {
	switch name {
	case "Expect", "Http2-Settings", "Keep-Alive", "Pragma", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// read reads header fields, up to and with the empty line.
func (f *Fields) read(text string) bool {
	f.n = 0
	for {
		line, rest, ok := cutLine(text)
		if !ok {
			return false
		}
		if line == "" {
			return rest == ""
		}
		text = rest
		colon, canonical := 0, true
		for wrong := byte(isLower); colon < len(line) && kinds[line[colon]]&inToken != 0; colon++ {
			canonical = canonical && kinds[line[colon]]&wrong == 0
			if wrong = isUpper; line[colon] == '-' {
				wrong = isLower
			}
		}
		if colon == 0 || colon == len(line) || line[colon] != ':' || f.n == maxFields {
			return false
		}
		value := trim(line[colon+1:])
		if !isValue(value) {
			return false
		}
		name := line[:colon]
		if !canonical {
			name = textproto.CanonicalMIMEHeaderKey(name)
		}
		if isElsewhere(name) {
			return false
		}
		f.names[f.n], f.values[f.n] = name, value
		f.n++
	}
}

// trim cuts white space off the ends of a value.
func trim(value string) string {
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for len(value) > 0 && (value[len(value)-1] == ' ' || value[len(value)-1] == '\t') {
		value = value[:len(value)-1]
	}
	return value
}

// find returns the value of the field of this name, and how many there are.
func (f *Fields) find(name string) (value string, times int) {
	for i, each := range f.names[:f.n] {
		if each == name {
			value, times = f.values[i], times+1
		}
	}
	return value, times
}

// remove takes out the fields of this name.
func (f *Fields) remove(name string) {
	kept := 0
	for i, each := range f.names[:f.n] {
		if each != name {
			f.names[kept], f.values[kept] = each, f.values[i]
			kept++
		}
	}
	f.n = kept
}

// addTo adds the fields to a header.
func (f *Fields) addTo(header http.Header) {
	for i, name := range f.names[:f.n] {
		if before, ok := header[name]; ok {
			header[name] = append(before, f.values[i])
			continue
		}
		header[name] = f.values[i : i+1 : i+1]
	}
}

// closes reports whether a message is the last of its connection. It is not ok where something else is said about that.
func closes(f *Fields) (closes, ok bool) {
	switch connection, times := f.find("Connection"); {
	case times == 0, times == 1 && strings.EqualFold(connection, "keep-alive"):
		return false, true
	case times == 1 && strings.EqualFold(connection, "close"):
		return true, true
	}
	return false, false
}

// announced returns the length that a message says its body has, and whether it says one.
func announced(f *Fields) (said bool, length int64, ok bool) {
	value, times := f.find("Content-Length")
	switch times {
	case 0:
		return false, 0, true
	case 1:
		length, ok = parseLength(value)
		return true, length, ok
	}
	return true, 0, false
}

func parseLength(value string) (length int64, ok bool) {
	if value == "" || len(value) > 15 {
		return 0, false
	}
	for _, c := range []byte(value) {
		if c < '0' || c > '9' {
			return 0, false
		}
		length = length*10 + int64(c-'0')
	}
	return length, true
}

// isValue reports whether text is all tabs, spaces and visible ASCII. Tokens are long, so it looks at eight bytes at once.
func isValue(text string) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(text) >= 8 {
		b := uint64(text[0]) | uint64(text[1])<<8 | uint64(text[2])<<16 | uint64(text[3])<<24 |
			uint64(text[4])<<32 | uint64(text[5])<<40 | uint64(text[6])<<48 | uint64(text[7])<<56
		// A top is set where a byte is above 0x7e; or, by what it borrows, where one is below 0x20 or follows such a one.
		if (b|(b+ones)|(b-ones*' '))&tops != 0 && !consists(text[:8], inValue) {
			return false
		}
		text = text[8:]
	}
	return consists(text, inValue)
}
