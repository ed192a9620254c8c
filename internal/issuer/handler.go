package issuer

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"time"

	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// The routes. Apps reach the first three under their policy's prefix, through the sidecar.
const (
	routeLogin       = "/login"
	routeRefresh     = "/refresh"
	routeLogout      = "/logout"
	routeKeys        = "/.well-known/jwks.json"
	routeRevocations = "/revocations"
)

// maxBody bounds the body of a request.
const maxBody = 16 << 10

// handler takes requests from the wire and puts answers on it.
type handler struct {
	materials *materials
	sessions  *sessions
	streams   *streams
	metrics   *metrics
	log       *slog.Logger
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(routeLogin, h.only(http.MethodPost, routeLogin, h.login))
	mux.Handle(routeRefresh, h.only(http.MethodPost, routeRefresh, h.refresh))
	mux.Handle(routeLogout, h.only(http.MethodPost, routeLogout, h.logout))
	mux.Handle(routeKeys, h.only(http.MethodGet, routeKeys, h.keys))
	mux.Handle(routeRevocations, h.only(http.MethodGet, "", h.streams.serve))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		(&refusal{status: http.StatusNotFound, reason: ReasonNotFound}).write(w)
	})

	// Cookies come along with requests that other sites make a browser send; Fetch Metadata and Origin tell these apart.
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		(&refusal{status: http.StatusForbidden, reason: ReasonCrossOrigin, detail: "the request comes from another origin"}).write(w)
	}))
	return sameOrigin.Handler(mux)
}

// only is a route that takes one method and needs the whole material. A route without a name is not timed.
func (h *handler) only(method, name string, serve func(http.ResponseWriter, *http.Request, *material) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			(&refusal{status: http.StatusMethodNotAllowed, reason: ReasonMethodNotAllowed}).write(w)
			return
		}
		start := time.Now()
		result := h.serve(w, r, serve)
		if name != "" {
			h.metrics.answered(name, result, time.Since(start))
		}
	})
}

// serve serves one request and returns how it went: "ok" or the reason of the refusal.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request, *material) error) string {
	m := h.materials.load()
	var err error = errNotReady
	if m.missing() == "" {
		err = serve(w, r, m)
	}
	if err == nil {
		return "ok"
	}
	var refused *refusal
	if !errors.As(err, &refused) {
		if r.Context().Err() == nil {
			h.log.Error("request failed", "path", r.URL.Path, "error", err)
		}
		refused = errUnavailable
	}
	if refused.clearCookie {
		if path, err := cookiePath(r.Header); err == nil {
			clearCookie(w, path)
		}
	}
	refused.write(w)
	return string(refused.reason)
}

// credentials is the body of a login.
type credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

func (h *handler) login(w http.ResponseWriter, r *http.Request, m *material) error {
	path, err := cookiePath(r.Header)
	if err != nil {
		return err
	}
	if kind, _, fault := mime.ParseMediaType(r.Header.Get("Content-Type")); fault != nil || kind != "application/json" {
		return &refusal{status: http.StatusUnsupportedMediaType, reason: ReasonMalformed, detail: "Content-Type must be application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return malformed("the body cannot be read, or has more than 16 KiB")
	}
	var c credentials
	if err = strictjson.Unmarshal(body, &c); err != nil {
		return malformed(`the body must be {"username":"...","password":"..."}`)
	}
	g, err := h.sessions.login(r.Context(), m, c.Username, []byte(c.Password), h.logFor(r))
	if err != nil {
		return err
	}
	return writeGrant(w, path, g)
}

func (h *handler) refresh(w http.ResponseWriter, r *http.Request, m *material) error {
	path, err := cookiePath(r.Header)
	if err != nil {
		return err
	}
	token, err := readCookie(r)
	if err != nil {
		return err
	}
	g, err := h.sessions.refresh(r.Context(), m, token, h.logFor(r))
	if err != nil {
		return err
	}
	return writeGrant(w, path, g)
}

func (h *handler) logout(w http.ResponseWriter, r *http.Request, _ *material) error {
	path, err := cookiePath(r.Header)
	if err != nil {
		return err
	}
	token, err := readCookie(r)
	if err != nil && !errors.Is(err, errNoSession) {
		return err
	}
	if err := h.sessions.logout(r.Context(), token, h.logFor(r)); err != nil {
		return err
	}
	clearCookie(w, path)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *handler) keys(w http.ResponseWriter, _ *http.Request, m *material) error {
	body, err := m.keys.verifyingKeys(h.sessions.now())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=60")
	_, _ = w.Write(body)
	return nil
}

// logFor says where a request came from. Through a sidecar the peer is the sidecar, and X-Forwarded-For is what the sidecar saw; the header
// of anybody else is only what they say, which is why both are there.
func (h *handler) logFor(r *http.Request) *slog.Logger {
	forwarded := r.Header.Get("X-Forwarded-For")
	if len(forwarded) > 64 {
		forwarded = forwarded[:64]
	}
	return h.log.With("peer", r.RemoteAddr, "forwardedFor", forwarded)
}

// grantBody is the answer to login and refresh: RFC 6749, section 5.1, less the refresh token, which scripts never see.
type grantBody struct {
	AccessToken      string `json:"access_token"`
	TokenType        string `json:"token_type"`
	ExpiresIn        int64  `json:"expires_in"`
	RefreshExpiresIn int64  `json:"refresh_expires_in"`
}

func writeGrant(w http.ResponseWriter, path string, g grant) error {
	body, err := json.Marshal(grantBody{AccessToken: g.accessToken, TokenType: "Bearer", //nolint:gosec // the client asked for it
		ExpiresIn: int64((g.expiresIn + time.Second - 1) / time.Second), RefreshExpiresIn: int64(g.endsIn / time.Second)})
	if err != nil {
		return err
	}
	setCookie(w, path, g.refreshToken, g.endsIn)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// CookieName is the cookie of the refresh token. Browsers take the prefix only together with Secure (RFC 6265bis, section 4.1.3.1).
const CookieName = "__Secure-latchkey-refresh"

// prefixPattern is what may be the Path of a cookie: no character in it ends an attribute.
var prefixPattern = regexp.MustCompile(`^/[A-Za-z0-9._~/-]{0,255}$`)

// cookiePath is where the browser shall send the cookie: below the prefix under which the sidecar offers these routes, so that it does not
// travel with every request.
func cookiePath(header http.Header) (string, error) {
	values := header["X-Forwarded-Prefix"]
	if len(values) == 0 {
		return "/", nil
	}
	if len(values) > 1 || !prefixPattern.MatchString(values[0]) {
		return "", malformed("X-Forwarded-Prefix must be a path")
	}
	return values[0], nil
}

// readCookie returns the refresh token. Two cookies of the name are refused: a neighbouring domain can plant one beside ours, and which comes
// first is the browser's choice.
func readCookie(r *http.Request) (string, error) {
	cookies := r.CookiesNamed(CookieName)
	switch len(cookies) {
	case 0:
		return "", errNoSession
	case 1:
		return cookies[0].Value, nil
	default:
		return "", malformed("the cookie " + CookieName + " is there more than once")
	}
}

func setCookie(w http.ResponseWriter, path, value string, maxAge time.Duration) {
	http.SetCookie(w, &http.Cookie{Name: CookieName, Value: value, Path: path, MaxAge: max(int(maxAge/time.Second), 1),
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
}

func clearCookie(w http.ResponseWriter, path string) {
	http.SetCookie(w, &http.Cookie{Name: CookieName, Path: path, MaxAge: -1,
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
}
