package policy

import (
	"encoding/json"
	"slices"
	"strings"
)

// maxHeaderName bounds the names that a document may give to identity headers, as the API does.
const maxHeaderName = 64

// overriding are headers by which some frameworks let a request ask for another method or path than its own. The app must not see
// another request than the one that was judged, so they are stripped from all of them. X-Forwarded-Uri and its kin are what a proxy asks an
// authorization service with: that service must not answer for another request than the one it was reached with. SCRIPT_NAME, PATH_INFO and their kin are how WSGI servers
// let a proxy cut a prefix off the path, and gunicorn believes whoever calls from loopback, as we do: /public/admin would become /admin.
var overriding = []string{
	"Path-Info", "Script-Name", "X-Forwarded-Method", "X-Forwarded-Path", "X-Forwarded-Uri", "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "X-Original-Method", "X-Original-URI",
	"X-Original-URL", "X-Rewrite-URL", "X-Script-Name",
}

// reserved are headers that steer HTTP itself, carry credentials, or say where a request came from. Each identity header is stripped from
// every request, so one of these names would break requests, or let a claim steer them.
var reserved = []string{
	"Accept-Encoding", "Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Date", "Expect",
	"Forwarded", "Host", "HTTP2-Settings", "Keep-Alive", "Origin", "Set-Cookie", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Via",
	"X-Real-IP",
}

// reservedPrefixes are families of reserved headers. Sec- and Proxy- are those of the Fetch standard's forbidden names.
var reservedPrefixes = []string{"Proxy-", "Sec-", "X-Forwarded-"}

func checkHeaders(c check, headers []Header) {
	seen := map[string]bool{}
	for i, header := range headers {
		name := c.at("[%d].name", i)
		folded := string(fold(nil, header.Name))
		switch {
		case !isHeaderName(header.Name):
			name.fail(`must start with a letter and hold letters, digits and "-" only, 64 at most`)
		case isReserved(header.Name):
			name.fail("is a header that HTTP, proxies or browsers give a meaning of their own; choose another")
		case seen[folded]:
			name.fail("is there twice; case makes no difference")
		}
		seen[folded] = true
		checkClaim(c.at("[%d].claim", i), header.Claim)
	}
}

func isHeaderName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '-' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= maxHeaderName
}

func isReserved(name string) bool {
	is := func(other string) bool { return strings.EqualFold(name, other) }
	family := func(prefix string) bool {
		return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
	}
	return slices.ContainsFunc(reserved, is) || slices.ContainsFunc(overriding, is) || slices.ContainsFunc(reservedPrefixes, family)
}

func (p *Program) compileHeaders() {
	p.stripped = map[string]struct{}{}
	for _, name := range overriding {
		p.strip(name)
	}
	for _, header := range p.headers {
		p.strip(header.Name)
		p.values = append(p.values, compileClaim(header.Claim))
	}
}

func (p *Program) strip(name string) {
	p.stripped[string(fold(nil, name))] = struct{}{}
	p.initials[len(name)] |= initial(name)
}

// initial is the set of one that holds the first character of a name: a bit for each letter, and one for all else.
func initial(name string) uint32 {
	if letter := name[0] | 0x20; 'a' <= letter && letter <= 'z' {
		return 1 << (letter - 'a')
	}
	return 1 << 31
}

// Strips says whether a header or trailer of this name must be taken out of every request, whoever sent it, before the identity headers
// are set. It allocates nothing.
//
// Names are compared as CGI and its heirs do: without case, and with every character that is neither letter nor digit as good as any other
// (RFC 3875 section 4.1.18 makes "_" of "-"; some servers do so with "." and the rest). To such an app X_Auth_Subject is X-Auth-Subject.
func (p *Program) Strips(name string) bool {
	if name == "" || len(name) >= len(p.initials) || p.initials[len(name)]&initial(name) == 0 {
		return false // most headers, by a look at their length and first letter
	}
	var buffer [maxHeaderName]byte
	_, ok := p.stripped[string(fold(buffer[:0], name))]
	return ok
}

// MayCarryToken says whether a header of this name can be where a request carries its token: neither an identity header, nor one that HTTP, proxies or
// browsers give a meaning of their own. Authorization is for the caller to except.
func (p *Program) MayCarryToken(name string) bool { return !isReserved(name) && !p.Strips(name) }

// fold appends name to dst in the form in which names are compared.
func fold(dst []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		default:
			c = '-'
		}
		dst = append(dst, c)
	}
	return dst
}

// Identify returns the values that the claims of a verified token give the identity headers, in the order of Headers, and "" for those that are not
// to be set.
//
// A string is sent as it is, a number or boolean as JSON writes it, and a list of these joined by commas. What a header cannot carry so that
// the app reads back the same sets no header: null, objects, lists in lists, empty strings, control characters, white space at the ends, which
// HTTP takes away, and a list with a comma inside an element, which would become two.
func (p *Program) Identify(claims map[string]any) []string {
	values := make([]string, len(p.values))
	for i, at := range p.values {
		if value, ok := headerValue(at.in(claims)); ok {
			values[i] = value
		}
	}
	return values
}

func headerValue(claim any) (string, bool) {
	list, isList := claim.([]any)
	if !isList {
		return scalarValue(claim)
	}
	elements := make([]string, len(list))
	for i, element := range list {
		text, ok := scalarValue(element)
		if !ok || strings.Contains(text, ",") {
			return "", false
		}
		elements[i] = text
	}
	return strings.Join(elements, ","), len(elements) > 0
}

func scalarValue(claim any) (string, bool) {
	switch value := claim.(type) {
	case string:
		return value, value != "" && isFieldValue(value)
	case json.Number:
		return value.String(), true
	case bool:
		if value {
			return "true", true
		}
		return "false", true
	}
	return "", false
}

// isFieldValue says whether s arrives as it was sent (RFC 9110 section 5.5).
func isFieldValue(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return strings.TrimSpace(s) == s
}
