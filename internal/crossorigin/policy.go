package crossorigin

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Document is what an AuthPolicy says about other origins.
type Document struct {
	// AllowOrigins are origins as browsers spell them, such as https://shop.example, or "*" alone for all but null.
	AllowOrigins []string `json:"allowOrigins"`
	// AllowMethods may be used beside GET, HEAD and POST, which browsers always allow.
	AllowMethods []string `json:"allowMethods,omitempty"`
	// AllowHeaders may be sent beside those that browsers always allow.
	AllowHeaders []string `json:"allowHeaders,omitempty"`
	// ExposeHeaders of answers may be read beside those that browsers always show.
	ExposeHeaders []string `json:"exposeHeaders,omitempty"`
	// AllowCredentials lets these origins act with the user's cookies.
	AllowCredentials bool `json:"allowCredentials,omitempty"`
	// MaxAgeSeconds is how long browsers may keep the answer to a preflight; 0 leaves it to them.
	MaxAgeSeconds int64 `json:"maxAgeSeconds,omitempty"`
}

// MaxAge bounds how long browsers are told to keep the answer to a preflight.
const MaxAge = 24 * time.Hour

// every stands for all origins.
const every = "*"

var (
	// origin is RFC 6454's serialisation, for hosts in small letters. It has no path, no user and no wildcard.
	origin = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$`)
	method = regexp.MustCompile(`^[A-Z][A-Z-]*$`)
	header = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
)

// Policy is a compiled Document. It never changes, and may be used by any number of goroutines.
type Policy struct {
	offered     bool // there is a Document
	origins     map[string]struct{}
	every       bool
	credentials bool
	methods     string // these are values of headers; "" sends none
	headers     string
	exposed     string
	maxAge      string
	sameOrigin  *http.CrossOriginProtection
}

// Compile checks a document; nil allows no other origin anything, and leaves what answers say about it to the app. The error lists
// everything that is wrong, one a line, each with its path.
func Compile(d *Document) (*Policy, error) {
	p := &Policy{origins: map[string]struct{}{}, sameOrigin: http.NewCrossOriginProtection()}
	if d == nil {
		return p, nil
	}
	p.offered, p.credentials = true, d.AllowCredentials
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf("cors."+format, args...)) }

	if len(d.AllowOrigins) == 0 {
		fail("allowOrigins: must name at least one")
	}
	for i, each := range d.AllowOrigins {
		switch {
		case each == every && d.AllowCredentials:
			fail("allowOrigins[%d]: * would let every site act with a user's cookies; list the origins, or leave allowCredentials out", i)
		case each == every && len(d.AllowOrigins) > 1:
			fail("allowOrigins[%d]: * stands alone", i)
		case each == every:
			p.every = true
		case !origin.MatchString(each) || hasDefaultPort(each):
			fail("allowOrigins[%d]: must be an origin as browsers spell it, such as https://shop.example or http://localhost:3000, without path, wildcard or default port", i)
		default:
			p.origins[each] = struct{}{}
			if !d.AllowCredentials {
				continue
			}
			if err := p.sameOrigin.AddTrustedOrigin(each); err != nil {
				fail("allowOrigins[%d]: is no origin", i)
			}
		}
	}
	check := func(field string, list []string, form *regexp.Regexp) string {
		for i, each := range list {
			if !form.MatchString(each) || len(each) > 64 {
				fail("%s[%d]: is no name for it, or too long", field, i)
			}
		}
		return strings.Join(list, ", ")
	}
	p.methods = check("allowMethods", d.AllowMethods, method)
	p.headers = check("allowHeaders", d.AllowHeaders, header)
	p.exposed = check("exposeHeaders", d.ExposeHeaders, header)
	if d.MaxAgeSeconds < 0 || d.MaxAgeSeconds > int64(MaxAge.Seconds()) {
		fail("maxAge: must be between 0s and 24h")
	} else if d.MaxAgeSeconds > 0 {
		p.maxAge = strconv.FormatInt(d.MaxAgeSeconds, 10)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return p, nil
}

// hasDefaultPort says whether a browser would leave the port out.
func hasDefaultPort(origin string) bool {
	return strings.HasPrefix(origin, "https://") && strings.HasSuffix(origin, ":443") ||
		strings.HasPrefix(origin, "http://") && strings.HasSuffix(origin, ":80")
}

// IsPreflight says whether a request is a browser's question whether it may send another one. Where the policy says nothing about other
// origins none is: then it is the app's to answer.
func (p *Policy) IsPreflight(r *http.Request) bool {
	return p.offered && r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// Allows says whether pages of the request's origin may read answers.
func (p *Policy) Allows(r *http.Request) bool { return p.allowed(r.Header["Origin"]) != "" }

// Describes reports whether Describe says anything.
func (p *Policy) Describes() bool { return p.offered }

// Describe says in the headers of an answer what pages of the request's origin may do with it, in place of whatever the app says about it.
func (p *Policy) Describe(answer http.Header, r *http.Request) {
	if !p.offered {
		return
	}
	for name := range answer {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(answer, name)
		}
	}
	vary(answer)
	allowed := p.allowed(r.Header["Origin"])
	if allowed == "" {
		return
	}
	set := func(name, value string) {
		if value != "" {
			answer[name] = []string{value}
		}
	}
	set("Access-Control-Allow-Origin", allowed)
	if p.credentials {
		set("Access-Control-Allow-Credentials", "true")
	}
	if p.IsPreflight(r) {
		set("Access-Control-Allow-Methods", p.methods)
		set("Access-Control-Allow-Headers", p.headers)
		set("Access-Control-Max-Age", p.maxAge)
	} else {
		set("Access-Control-Expose-Headers", p.exposed)
	}
}

// allowed is what Access-Control-Allow-Origin has to say. Null is the origin of sandboxed frames and redirected requests, whoever
// wrote them: it is nobody's.
func (p *Policy) allowed(origins []string) string {
	if len(origins) != 1 || origins[0] == "null" {
		return ""
	}
	if p.every {
		return every
	}
	if _, listed := p.origins[origins[0]]; listed {
		return origins[0]
	}
	return ""
}

// vary keeps caches from giving one origin the answer to another, or to a request without one.
func vary(answer http.Header) {
	named := func(value string) bool {
		return slices.ContainsFunc(strings.Split(value, ","), func(name string) bool {
			name = strings.TrimSpace(name)
			return name == every || strings.EqualFold(name, "Origin")
		})
	}
	if !slices.ContainsFunc(answer["Vary"], named) {
		answer["Vary"] = append(answer["Vary"], "Origin")
	}
}

// Trusts says whether a request that carries a user's cookie can be what the user asked for: one that changes nothing, or one whose page is of
// the app's own origin, or of an origin that may act with credentials. Browsers say where a page is from, in Sec-Fetch-Site or Origin; a client
// that sends neither is none, and sends no cookie that it was not given to send. A WebSocket handshake is a GET and changes things all the same.
func (p *Policy) Trusts(r *http.Request) bool {
	if len(r.Header["Upgrade"]) > 0 {
		asked := *r
		asked.Method = http.MethodPost
		r = &asked
	}
	return p.sameOrigin.Check(r) == nil
}

// Vouch returns the request without what says that it comes from another origin, where that origin may act with credentials, else the
// request itself. Who knows its own origin alone, as a token service does, takes the one that is returned.
func (p *Policy) Vouch(r *http.Request) *http.Request {
	if !p.credentials || !p.Allows(r) {
		return r
	}
	vouched := *r
	vouched.Header = r.Header.Clone()
	delete(vouched.Header, "Origin")
	delete(vouched.Header, "Sec-Fetch-Site")
	return &vouched
}
