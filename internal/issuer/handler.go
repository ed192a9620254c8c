package issuer

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// The routes. Apps reach all but the last four under their policy's prefix, through the sidecar. The last four are for the cluster.
const (
	routeLogin         = "/login"
	routeRefresh       = "/refresh"
	routeLogout        = "/logout"
	routeLogoutAll     = "/logout-all"
	routeSessions      = "/sessions"
	routeSession       = "/sessions/{id}"
	routeToken         = "/token"
	routeRevoke        = "/revoke"
	routeKeys          = "/.well-known/jwks.json"
	routeServer        = "/.well-known/oauth-authorization-server"
	routeProvider      = "/.well-known/openid-configuration"
	routeBackendLogin  = "/backend/login"
	routeBackendLogout = "/backend/logout-all"
	routeIntrospect    = "/introspect"
	routeRevocations   = "/revocations"
)

// handler takes requests from the wire and puts answers on it.
type handler struct {
	materials *materials
	sessions  *sessions
	streams   *streams
	requests  *doors
	metrics   *metrics
	log       *slog.Logger
}

func (h *handler) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(routeLogin, h.route(routeLogin, methods{http.MethodPost: h.login}))
	mux.Handle(routeRefresh, h.route(routeRefresh, methods{http.MethodPost: h.refresh}))
	mux.Handle(routeLogout, h.route(routeLogout, methods{http.MethodPost: h.logout}))
	mux.Handle(routeLogoutAll, h.route(routeLogoutAll, methods{http.MethodPost: h.logoutAll}))
	mux.Handle(routeSessions, h.route(routeSessions, methods{http.MethodGet: h.listSessions, http.MethodDelete: h.endOthers}))
	mux.Handle(routeSession, h.route(routeSession, methods{http.MethodDelete: h.endSession}))
	mux.Handle(routeToken, h.route(routeToken, methods{http.MethodPost: inOAuth(h.token)}))
	mux.Handle(routeRevoke, h.route(routeRevoke, methods{http.MethodPost: inOAuth(h.revoke)}))
	mux.Handle(routeKeys, h.route(routeKeys, methods{http.MethodGet: h.keys}))
	mux.Handle(routeServer, h.route(routeServer, methods{http.MethodGet: h.metadata}))
	mux.Handle(routeProvider, h.route(routeProvider, methods{http.MethodGet: h.metadata}))
	mux.Handle(routeBackendLogin, h.route(routeBackendLogin, methods{http.MethodPost: h.backendLogin}))
	mux.Handle(routeBackendLogout, h.route(routeBackendLogout, methods{http.MethodPost: h.backendLogout}))
	mux.Handle(routeIntrospect, h.route(routeIntrospect, methods{http.MethodPost: inOAuth(h.introspect)}))
	mux.Handle(routeRevocations, h.route("", methods{http.MethodGet: h.streams.serve}))
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

// methods are what a route does, by method.
type methods map[string]func(http.ResponseWriter, *http.Request, *material) error

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// route serves what needs the whole material. A route without a name lasts: it is not timed, and is no span.
func (h *handler) route(name string, does methods) http.Handler {
	allowed := strings.Join(slices.Sorted(maps.Keys(does)), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve, ok := does[r.Method]
		if !ok {
			w.Header().Set("Allow", allowed)
			(&refusal{status: http.StatusMethodNotAllowed, reason: ReasonMethodNotAllowed}).write(w)
			return
		}
		if name == "" {
			h.serve(w, r, h.materials.load(), serve)
			return
		}
		m, start := h.materials.load(), time.Now()
		span := m.tracer.Start(r, r.Method+" "+name, tracing.Incoming(r.Header), start)
		span.Announce(r.Header)
		told := &statusWriter{w, http.StatusOK}
		result := h.serve(told, r, m, func(w http.ResponseWriter, r *http.Request, m *material) error {
			leave, err := h.requests.enter()
			if err != nil {
				return err
			}
			defer leave()
			return serve(w, r, m)
		})
		now := time.Now()
		h.metrics.answered(name, result, now.Sub(start))
		span.End(now, tracing.Outcome{Status: told.status, Attributes: []tracing.Attribute{
			{Key: "http.request.method", Value: r.Method}, {Key: "http.route", Value: name}, {Key: "latchkey.reason", Value: result},
		}})
	})
}

// serve serves one request and returns how it went: "ok" or the reason of the refusal.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, m *material, serve func(http.ResponseWriter, *http.Request, *material) error) string {
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
	} else if refused.status >= http.StatusInternalServerError && r.Context().Err() == nil && err != error(refused) { //nolint:errorlint // whether there is more to tell
		h.log.Error("request failed", "path", r.URL.Path, "error", err)
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
	var typed struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err = readJSON(w, r, &typed, `{"username":"...","password":"..."}`); err != nil {
		return err
	}
	if strings.ContainsRune(typed.Username, 0) {
		return malformed("username must have no NUL") // databases do not agree on it, and none shall seem to fail
	}
	device := h.deviceOf(r, m)
	log := h.auditFor(r, device)
	g, err := h.sessions.login(r.Context(), m, credentials{typed.Username, []byte(typed.Password), way.brought(r)}, device, log)
	h.metrics.signIn(byPassword, err)
	if err != nil {
		name := unknownUser
		if listed, known := m.listed(typed.Username); known {
			name = listed.Name
		}
		log.with("user", name).refused(eventSignIn, err)
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
	device := h.deviceOf(r, m)
	g, err := h.sessions.refresh(r.Context(), m, token, nil, device, h.auditFor(r, device))
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
	if err := h.sessions.logout(r.Context(), token, h.auditFor(r, h.deviceOf(r, m))); err != nil {
		return err
	}
	way.clear(w)
	noContent(w)
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
