package tokenservice

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/credential"
)

// CookiePrefix begins the name of every cookie that token services know. They are between the browser and the token service: no app gets to
// see them.
const CookiePrefix = "__Secure-latchkey-"

// The reasons why a request below the prefix is not answered by the token service.
const (
	ReasonNoSuchRoute      = "no_such_route"
	ReasonMethodNotAllowed = "method_not_allowed"
	ReasonBodyTooLarge     = "body_too_large"
	ReasonBodyUnreadable   = "body_unreadable"
	ReasonUnreachable      = "token_service_unreachable"
)

// maxBody bounds what is taken in before anybody has signed in. The longest honest body is a user name and a password.
const maxBody = 16 << 10

// bodyPatience is how long a caller may take to send it.
const bodyPatience = 10 * time.Second

// offer is a route below the prefix.
type offer struct {
	methods []string
	bearer  bool // the token service judges an access token that comes with it
}

var (
	posted = offer{methods: []string{http.MethodPost}}
	read   = offer{methods: []string{http.MethodGet}}
)

// offered lists the routes below the prefix. Whatever else a token service answers is for the cluster.
var offered = map[string]offer{
	"/login": posted, "/refresh": posted, "/logout": posted, "/token": posted, "/revoke": posted,
	"/logout-all":            {[]string{http.MethodPost}, true},
	"/sessions":              {[]string{http.MethodGet, http.MethodDelete}, true},
	"/.well-known/jwks.json": read,
	"/.well-known/oauth-authorization-server": read,
	"/.well-known/openid-configuration":       read,
}

// oneSession is the route of a session by its id.
var oneSession = offer{[]string{http.MethodDelete}, true}

func offerOf(route string) (offer, bool) {
	if id, ok := strings.CutPrefix(route, "/sessions/"); ok && id != "" && !strings.Contains(id, "/") {
		return oneSession, true
	}
	found, ok := offered[route]
	return found, ok
}

// serverMetadata begins the path at which RFC 8414, section 3.1, looks for the metadata of an issuer whose URL has a path: not below that
// path, but with it at the end.
const serverMetadata = "/.well-known/oauth-authorization-server"

// forwarded lists the request headers that a token service gets to see, beside the cookies that are its own: what it needs to read the
// body, to tell a cross-site request from others (Fetch Metadata), and to write an audit line. Where the token service judges an access token,
// that comes too. All others stay here, so that none can steer it.
var forwarded = []string{"Accept", "Content-Type", "Origin", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "User-Agent"}

// Refuse answers a request that the token service does not answer. Status 503 comes with a Retry-After.
type Refuse func(w http.ResponseWriter, r *http.Request, status int, reason string)

// Routes offers the sign-in routes of one token service below a path prefix.
type Routes struct {
	prefix  string
	proxies trustedProxies
	client  *Client
	refuse  Refuse
	log     *slog.Logger
	proxy   httputil.ReverseProxy

	signIn  string // the app's page with the sign-in form; "" for an app with scripts
	flights flights
}

// NewRoutes returns the routes of the service as the session of a bundle has them. The error names the field that is wrong.
func NewRoutes(session *bundle.Session, client *Client, refuse Refuse, log *slog.Logger) (*Routes, error) {
	proxies, err := parseProxies(session.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("session.trustedProxies%w", err)
	}
	routes := &Routes{prefix: session.PathPrefix, proxies: proxies, client: client, refuse: refuse, log: log}
	if session.ServerRendered != nil {
		routes.signIn = session.ServerRendered.SignInPath
	}
	routes.proxy = httputil.ReverseProxy{
		Rewrite:        routes.rewrite,
		Transport:      client.transport,
		FlushInterval:  -1, // who does not take an answer is seen to while it is passed on
		ModifyResponse: routes.keepInCookies,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			reason, status := routes.unanswered(r, err)
			// The answer sets no cookie: a session is as good as it was.
			w.Header().Set("Retry-After", "2")
			refuse(w, r, status, reason)
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return routes, nil
}

// Covers reports whether a normalised path belongs to the token service. The app never sees such a request, whether or not there is a
// route of that name.
func (s *Routes) Covers(path string) bool {
	_, covered := s.route(path)
	return covered
}

// route is what a covered path asks the token service for.
func (s *Routes) route(path string) (string, bool) {
	if path == serverMetadata+s.prefix {
		return serverMetadata, true
	}
	rest, below := strings.CutPrefix(path, s.prefix)
	return rest, below && (rest == "" || rest[0] == '/')
}

// Serve answers a request whose normalised path the routes cover.
func (s *Routes) Serve(w http.ResponseWriter, r *http.Request, path string) {
	route, _ := s.route(path)
	found, known := offerOf(route)
	if !known {
		s.refuse(w, r, http.StatusNotFound, ReasonNoSuchRoute)
		return
	}
	if !slices.Contains(found.methods, r.Method) {
		w.Header().Set("Allow", strings.Join(found.methods, ", "))
		s.refuse(w, r, http.StatusMethodNotAllowed, ReasonMethodNotAllowed)
		return
	}
	// The body is read whole first: a token service has better things to do than to wait for a slow caller.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience)) // where it cannot be set, other limits hold
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		s.refuse(w, r, http.StatusRequestEntityTooLarge, ReasonBodyTooLarge)
		return
	case err != nil:
		s.refuse(w, r, http.StatusBadRequest, ReasonBodyUnreadable)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	if s.rendered() && forms[route] && isForm(r) {
		s.serveForm(w, r, route, body)
		return
	}

	whole := r.Clone(r.Context())
	whole.URL = &url.URL{Path: route} // without a query: no route has one
	whole.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	whole.Body, _ = whole.GetBody()
	whole.ContentLength = int64(len(body))
	whole.TransferEncoding = nil
	whole.Trailer = nil
	s.proxy.ServeHTTP(w, whole)
}

// rewrite makes the request that the token service sees.
func (s *Routes) rewrite(p *httputil.ProxyRequest) {
	header := make(http.Header, len(forwarded)+6)
	for _, name := range forwarded {
		if values := p.In.Header[name]; len(values) > 0 {
			header[name] = values
		}
	}
	found, _ := offerOf(p.In.URL.Path)
	if found.bearer && len(p.In.Header["Authorization"]) > 0 {
		header["Authorization"] = p.In.Header["Authorization"]
	}
	if s.rendered() {
		translate(p.In.Header, header, found.bearer)
	} else {
		for _, value := range p.In.Header["Cookie"] {
			if own := KeepCookies(value, true); own != "" {
				header.Add("Cookie", own)
			}
		}
	}
	s.introduce(p.In, header)
	p.Out.Header = header
	p.Out.Host = p.In.Host // Origin is compared with it
	p.Out.URL = s.client.endpoint(p.In.URL.Path)
}

// KeepCookies returns a Cookie header's value with only Latchkey's own cookies left in it, or (own false) with only the others.
// What is kept stays as it was written. Names are compared without case, as browsers compare the prefix.
func KeepCookies(value string, own bool) string {
	kept, whole := make([]string, 0, 8), true
	for pair := range strings.SplitSeq(value, ";") {
		pair = strings.Trim(pair, " \t")
		isOwn := credential.IsOwn(pair)
		whole = whole && isOwn == own
		if pair != "" && isOwn == own {
			kept = append(kept, pair)
		}
	}
	if whole {
		return value
	}
	return strings.Join(kept, "; ")
}
