package credential

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Source is a place in a request where a token may stand. Exactly one of its fields is set.
type Source struct {
	// Header is the name of a header that holds the token alone. In Authorization the Bearer scheme stands before it (RFC 6750).
	Header string `json:"header,omitempty"`
	// Cookie is the name of a cookie. Browsers send it by themselves, so such a token needs protection from other sites.
	Cookie string `json:"cookie,omitempty"`
	// Query is the name of a parameter in the query.
	Query string `json:"query,omitempty"`
	// WebSocketProtocol is a name in Sec-WebSocket-Protocol, where the token is offered as the protocol right after it: scripts in browsers
	// can set no other header of a handshake.
	WebSocketProtocol string `json:"webSocketProtocol,omitempty"`
}

const (
	authorization = "Authorization"
	protocols     = "Sec-Websocket-Protocol" // as net/http spells it
	// maxSources bounds what is looked for in each request.
	maxSources = 8
	maxName    = 64
)

// parameter is what cookies, query parameters and WebSocket protocols may be called here.
var parameter = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

var headerName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

// Sources is what Compile makes of a list of them. It never changes, and may be used by any number of goroutines.
type Sources struct {
	authorization bool
	headers       []string // folded, as are the next two
	cookies       []string
	queries       []string
	protocols     []string // in small letters
	session       bool     // see WithSession
}

// Compile checks sources; none means the Authorization header. Free says whether a header of that name has no other meaning than a
// policy's author gives it. The error lists everything that is wrong, one a line, each with its path.
func Compile(list []Source, free func(header string) bool) (*Sources, error) {
	if len(list) == 0 {
		return &Sources{authorization: true}, nil
	}
	s := &Sources{}
	var faults []error
	if len(list) > maxSources {
		faults = append(faults, fmt.Errorf("tokenSources: must be %d at most", maxSources))
	}
	seen := map[string]bool{}
	for i, source := range list {
		kind, problem := s.add(source, free)
		fold := kind + " " + foldName(source.Header+source.Cookie+source.Query+source.WebSocketProtocol)
		if problem == "" && seen[fold] {
			problem = "is there twice; neither case nor punctuation makes a difference"
		}
		seen[fold] = true
		if problem != "" {
			faults = append(faults, fmt.Errorf("tokenSources[%d]%s: %s", i, kind, problem))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return s, nil
}

// add takes one source, or says what is wrong with it.
func (s *Sources) add(source Source, free func(string) bool) (kind, problem string) {
	const exactlyOne = "set exactly one of header, cookie, query and webSocketProtocol"
	const parameterRule = "must be letters, digits, _, . and -, 64 at most, and begin with none of the last two"
	isParameter := func(name string) bool { return parameter.MatchString(name) && len(name) <= maxName }
	switch source {
	case Source{}:
		problem = exactlyOne
	case Source{Header: source.Header}:
		kind = ".header"
		switch {
		case !headerName.MatchString(source.Header) || len(source.Header) > maxName:
			problem = "must be letters, digits and -, 64 at most, and begin with a letter"
		case strings.EqualFold(source.Header, authorization):
			s.authorization = true
		case !free(source.Header):
			problem = "is an identity header, or one that HTTP, proxies or browsers give a meaning of their own; choose another"
		default:
			s.headers = append(s.headers, foldName(source.Header))
		}
	case Source{Cookie: source.Cookie}:
		kind = ".cookie"
		switch {
		case !isParameter(source.Cookie):
			problem = parameterRule
		case IsOwn(source.Cookie):
			problem = "is one of Latchkey's own; they are read where session.serverRendered says so"
		default:
			s.cookies = append(s.cookies, foldName(source.Cookie))
		}
	case Source{Query: source.Query}:
		kind = ".query"
		if !isParameter(source.Query) {
			problem = parameterRule
		}
		s.queries = append(s.queries, foldName(source.Query))
	case Source{WebSocketProtocol: source.WebSocketProtocol}:
		kind = ".webSocketProtocol"
		if !isParameter(source.WebSocketProtocol) {
			problem = parameterRule
		}
		s.protocols = append(s.protocols, strings.ToLower(source.WebSocketProtocol))
	default:
		problem = exactlyOne
	}
	return kind, problem
}

// ErrSeveral refuses a request with more than one token, or with one place for tokens twice. Whichever we read, the app might read the
// other.
var ErrSeveral = errors.New("several credentials")

// Found is the token of a request.
type Found struct {
	Token   string
	Present bool // false: there is none
	// Ambient says that browsers send it by themselves, whichever site made them send the request.
	Ambient bool
	// Session says that it stood in AccessCookie.
	Session bool
}

// Find returns the token of a request, as it was sent: it is judged by who verifies it.
//
// A name counts in every spelling that some app takes for it. So an app never sees a token that was not judged, under whatever name.
func (s *Sources) Find(header http.Header, rawQuery string) (Found, error) {
	var found Found
	if len(header[authorization]) > 1 {
		return found, ErrSeveral
	}
	if s.authorization {
		for _, value := range header[authorization] {
			found.Token, found.Present = bearer(value)
		}
	}
	for _, name := range s.headers {
		if err := found.add(inHeaders(header, name)); err != nil {
			return Found{}, err
		}
	}
	for _, name := range s.cookies {
		before := found.Present
		if err := found.add(inCookies(header["Cookie"], name)); err != nil {
			return Found{}, err
		}
		found.Ambient = found.Ambient || found.Present && !before
	}
	for _, name := range s.queries {
		if err := found.add(inQuery(rawQuery, name)); err != nil {
			return Found{}, err
		}
	}
	for _, name := range s.protocols {
		_, token, times := inProtocols(header[protocols], name)
		if err := found.add(token, times); err != nil {
			return Found{}, err
		}
	}
	if s.session {
		if err := s.findSession(header, &found); err != nil {
			return Found{}, err
		}
	}
	return found, nil
}

// add takes what one source holds, and how often it is there. Empty means that there is nothing: cookies are often cleared so.
func (f *Found) add(token string, times int) error {
	if times > 1 || token != "" && f.Present {
		return ErrSeveral
	}
	if token != "" {
		f.Token, f.Present = token, true
	}
	return nil
}

// Remove takes every source of the list out of a request's headers and out of its query, which it returns. The rest stays as it was, byte for
// byte. Latchkey's own cookies stay behind in any case.
func (s *Sources) Remove(header http.Header, rawQuery string) string {
	if s.authorization {
		for _, value := range header[authorization] {
			if _, ok := bearer(value); ok {
				delete(header, authorization)
				break
			}
		}
	}
	for _, name := range s.headers {
		for spelt := range header {
			if isSpelling(spelt, name) {
				delete(header, spelt)
			}
		}
	}
	for _, name := range s.cookies {
		removeCookies(header, name)
	}
	for _, name := range s.protocols {
		removeProtocol(header, name)
	}
	for _, name := range s.queries {
		rawQuery = removeParameter(rawQuery, name)
	}
	return rawQuery
}

// AuthorizationAlone reports whether tokens stand nowhere but in the Authorization header, so that Holds says all that Remove takes out.
func (s *Sources) AuthorizationAlone() bool {
	return s.authorization && !s.session && len(s.headers)+len(s.cookies)+len(s.queries)+len(s.protocols) == 0
}

// Holds reports whether a header, the only one of its name, is the Authorization that Remove takes out.
func (s *Sources) Holds(name, value string) bool {
	if !s.authorization || name != authorization {
		return false
	}
	_, ok := bearer(value)
	return ok
}

// ProtocolTaken returns the WebSocket protocol that Remove takes out of a handshake, spelt as the caller spelt it, or "". Where the app chooses
// none of the others, the answer has to name it: browsers close a connection for which none of what they offered was chosen.
func (s *Sources) ProtocolTaken(header http.Header) string {
	for _, name := range s.protocols {
		if spelt, _, times := inProtocols(header[protocols], name); times > 0 {
			return spelt
		}
	}
	return ""
}
