package issuer

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// The routes. Apps reach all but the last under their policy's prefix, through the sidecar.
const (
	routeLogin       = "/login"
	routeRefresh     = "/refresh"
	routeLogout      = "/logout"
	routeToken       = "/token"
	routeRevoke      = "/revoke"
	routeKeys        = "/.well-known/jwks.json"
	routeServer      = "/.well-known/oauth-authorization-server"
	routeProvider    = "/.well-known/openid-configuration"
	routeRevocations = "/revocations"
)

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
	mux.Handle(routeToken, h.only(http.MethodPost, routeToken, inOAuth(h.token)))
	mux.Handle(routeRevoke, h.only(http.MethodPost, routeRevoke, inOAuth(h.revoke)))
	mux.Handle(routeServer, h.only(http.MethodGet, routeServer, h.metadata))
	mux.Handle(routeProvider, h.only(http.MethodGet, routeProvider, h.metadata))
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
		switch {
		case r.Context().Err() != nil: // the client has hung up
		case errors.Is(err, store.ErrUnavailable): // which the journal tells once for all requests
			h.log.Debug("request failed", "path", r.URL.Path, "error", err)
		default:
			h.log.Error("request failed", "path", r.URL.Path, "error", err)
		}
		refused = errUnavailable
	}
	if refused.ended {
		if way, err := carrierOf(r, m); err == nil {
			way.clear(w)
		}
	}
	refused.write(w)
	return string(refused.reason)
}

func (h *handler) login(w http.ResponseWriter, r *http.Request, m *material) error {
	way, err := carrierOf(r, m)
	if err != nil {
		return err
	}
	var credentials struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err = readJSON(w, r, &credentials, `{"username":"...","password":"..."}`); err != nil {
		return err
	}
	g, err := h.sessions.login(r.Context(), m, credentials.Username, []byte(credentials.Password), h.logFor(r))
	if err != nil {
		return err
	}
	return way.grant(w, g)
}

func (h *handler) refresh(w http.ResponseWriter, r *http.Request, m *material) error {
	way, err := carrierOf(r, m)
	if err != nil {
		return err
	}
	token, err := way.read(w, r)
	if err != nil {
		return err
	}
	g, err := h.sessions.refresh(r.Context(), m, token, h.logFor(r))
	if err != nil {
		return err
	}
	return way.grant(w, g)
}

func (h *handler) logout(w http.ResponseWriter, r *http.Request, m *material) error {
	way, err := carrierOf(r, m)
	if err != nil {
		return err
	}
	token, err := way.read(w, r)
	if err != nil && !errors.Is(err, errNoSession) {
		return err
	}
	if err := h.sessions.logout(r.Context(), token, h.logFor(r)); err != nil {
		return err
	}
	way.clear(w)
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
	w.Header().Set("Cache-Control", cachePublic)
	_, _ = w.Write(body)
	return nil
}

// cachePublic lets everybody keep what is public for a minute: less than any publishLead worth having.
const cachePublic = "public, max-age=60"

// logFor says where a request came from. Through a sidecar the peer is the sidecar, and X-Forwarded-For is what the sidecar saw; the header
// of anybody else is only what they say, which is why both are there.
func (h *handler) logFor(r *http.Request) *slog.Logger {
	forwarded := r.Header.Get("X-Forwarded-For")
	if len(forwarded) > 64 {
		forwarded = forwarded[:64]
	}
	return h.log.With("peer", r.RemoteAddr, "forwardedFor", forwarded)
}
