package policy

import (
	"strings"
	"unicode/utf8"
)

// PathFault is why a path is refused: two readers of it could see two different paths, the policy one and the app the other. Its values
// are stable. Its error text never repeats the path.
type PathFault string

const (
	// PathNotAbsolute says that it does not start with "/".
	PathNotAbsolute PathFault = "not_absolute"
	// PathRawCharacter is one that may stand in a URI only percent-encoded (RFC 3986 section 3.3), "?" and "#" among them.
	PathRawCharacter PathFault = "raw_character"
	// PathBadEscape is "%" without two hexadecimal digits.
	PathBadEscape PathFault = "bad_escape"
	// PathEncodedSlash is "%2F". Some readers take it for a separator, others for part of a name.
	PathEncodedSlash PathFault = "encoded_slash"
	// PathBackslash is "\", encoded or not. Some readers take it for "/".
	PathBackslash PathFault = "backslash"
	// PathControl is NUL or another control character. Some readers stop there, some drop it.
	PathControl PathFault = "control_character"
	// PathParameter is ";", encoded or not. Some readers drop it and what follows in the segment.
	PathParameter PathFault = "path_parameter"
	// PathDotSegment is "." or ".." as a segment, after decoding. Some readers resolve it, others do not.
	PathDotSegment PathFault = "dot_segment"
	// PathEmptySegment is "//". Some readers take it for "/".
	PathEmptySegment PathFault = "empty_segment"
	// PathNotUTF8 is a sequence of bytes that is not UTF-8, overlong forms included.
	PathNotUTF8 PathFault = "not_utf8"
	// PathDoubleEncoding says that what was decoded could be decoded again.
	PathDoubleEncoding PathFault = "double_encoding"
)

func (f PathFault) Error() string { return "ambiguous path: " + string(f) }

// Normalize decodes the path of a request for Decide, or refuses it with a PathFault.
//
// escapedPath is the path as it will be forwarded, still percent-encoded and without the query: url.URL.EscapedPath. Nothing is cleaned or
// resolved: an app that receives these bytes, and decodes them once or resolves them as RFC 3986 says, arrives at the path that is returned
// here. All others are refused, since a policy that guards one reading and an app that follows another is how such policies are bypassed.
func Normalize(escapedPath string) (string, error) {
	path, fault := decode(escapedPath)
	if fault == "" {
		fault = faultOf(path)
	}
	if fault != "" {
		return "", fault
	}
	return path, nil
}

// decode resolves percent-encoding once. What it refuses can only be seen before decoding.
func decode(escaped string) (string, PathFault) {
	var decoded []byte // nil as long as nothing was encoded
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		if c != '%' {
			switch {
			case c == '\\':
				return "", PathBackslash
			case !mayStandRaw[c]:
				return "", PathRawCharacter
			case decoded != nil:
				decoded = append(decoded, c)
			}
			continue
		}
		if !startsEscape(escaped[i:]) {
			return "", PathBadEscape
		}
		if decoded == nil {
			decoded = append(make([]byte, 0, len(escaped)), escaped[:i]...)
		}
		c = unhex(escaped[i+1])<<4 | unhex(escaped[i+2])
		if c == '/' {
			return "", PathEncodedSlash
		}
		decoded = append(decoded, c)
		i += 2
	}
	if decoded == nil {
		return escaped, ""
	}
	return string(decoded), ""
}

// faultOf judges a decoded path: a request's, or one that a rule names.
func faultOf(path string) PathFault {
	if !strings.HasPrefix(path, "/") {
		return PathNotAbsolute
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c < 0x20 || c == 0x7f:
			return PathControl
		case c == '\\':
			return PathBackslash
		case c == ';':
			return PathParameter
		case c == '%' && startsEscape(path[i:]):
			return PathDoubleEncoding
		}
	}
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		switch {
		case segment == "." || segment == "..":
			return PathDotSegment
		case segment == "" && more:
			return PathEmptySegment
		}
	}
	if !utf8.ValidString(path) {
		return PathNotUTF8
	}
	return ""
}

// mayStandRaw says which bytes may stand unencoded: RFC 3986's pchar and "/", and "[" and "]", which browsers and net/url leave as they are.
// ";" is a pchar too, and is refused later, however it is written.
var mayStandRaw = func() (table [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/[]") {
		table[c] = true
	}
	return table
}()

func startsEscape(s string) bool {
	return len(s) >= 3 && s[0] == '%' && isHex(s[1]) && isHex(s[2])
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// unhex wants a hexadecimal digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
