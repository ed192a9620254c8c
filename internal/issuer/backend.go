package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// backends tells the trusted backends from everybody else, by tokens of their ServiceAccounts.
type backends struct {
	verifier *verify.Verifier
	subjects []string
}

// newBackends takes tokens whose audience is this token service's issuer: a pod asks the kubelet for one by a projected volume, and it is of no
// use anywhere else.
func newBackends(c *config.Config) (*backends, error) {
	if c.Login.Backends == nil {
		return nil, nil
	}
	keys, err := keyset.Parse(c.Login.Backends.Keys)
	if err != nil {
		return nil, fmt.Errorf("login.backends.keys: %w", err)
	}
	verifier, err := verify.New([]verify.Issuer{{URL: c.Login.Backends.Issuer, Audiences: []string{c.Issuer}, Keys: keys}})
	if err != nil {
		return nil, fmt.Errorf("login.backends: %w", err)
	}
	return &backends{verifier: verifier, subjects: c.Login.Backends.Subjects}, nil
}

// authenticate returns which backend sent a request, as system:serviceaccount:<namespace>:<name>, or errNoBackend.
func (b *backends) authenticate(r *http.Request, now time.Time) (string, error) {
	token, ok := bearer(r)
	if b == nil || !ok {
		return "", errNoBackend
	}
	verified, err := b.verifier.Verify(token, now)
	if err != nil || !slices.Contains(b.subjects, verified.Subject) {
		return "", errNoBackend
	}
	return verified.Subject, nil
}

// bearer returns the token of a request (RFC 6750, section 2.1).
func bearer(r *http.Request) (string, bool) {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// backendLogin signs a user in whom a backend vouches for. What it says of the user is in the tokens as long as the session lives.
func (h *handler) backendLogin(w http.ResponseWriter, r *http.Request, m *material) error {
	backend, err := m.backends.authenticate(r, h.sessions.now())
	if err != nil {
		h.metrics.signIn(byBackend, err)
		h.auditFor(r, h.deviceOf(r, m)).with("user", unknownUser).refused(eventSignIn, err)
		return err
	}
	way, err := carrierOf(r, m)
	if err != nil {
		return err
	}
	var named struct {
		Username  string                     `json:"username"`
		Claims    map[string]json.RawMessage `json:"claims"`
		Address   string                     `json:"address"`
		UserAgent string                     `json:"user_agent"`
	}
	if err = readJSON(w, r, &named, `{"username":"...","claims":{...},"address":"...","user_agent":"..."}`); err != nil {
		return err
	}
	user, err := users.Vet(named.Username, named.Claims)
	if err != nil {
		return malformed(err.Error())
	}
	device := newDevice(named.Address, named.UserAgent)
	log := h.auditFor(r, device).with("by", backend)
	g, err := h.sessions.begin(r.Context(), m, identity{user: user, foreign: true}, device, log)
	h.metrics.signIn(byBackend, err)
	if err != nil {
		log.with("user", user.Name).refused(eventSignIn, err)
		return err
	}
	return way.grant(w, g)
}

// backendLogout ends all sessions of a user: their password was changed, or they are not to be let in any more.
func (h *handler) backendLogout(w http.ResponseWriter, r *http.Request, m *material) error {
	log := h.auditFor(r, h.deviceOf(r, m))
	backend, err := m.backends.authenticate(r, h.sessions.now())
	if err != nil {
		log.with("user", unknownUser).refused(eventSignOutAll, err)
		return err
	}
	var named struct {
		Username string `json:"username"`
	}
	if err = readJSON(w, r, &named, `{"username":"..."}`); err != nil {
		return err
	}
	user, err := users.Vet(named.Username, nil)
	if err != nil {
		return malformed(err.Error())
	}
	if err := h.sessions.endAll(r.Context(), user.Name, store.SessionID{}, endedByBackend, log.with("by", backend)); err != nil {
		return err
	}
	noContent(w)
	return nil
}

// introspect tells a backend what a token is worth now (RFC 7662), which takes a look at the store: one whose session has ended is worth nothing.
func (h *handler) introspect(w http.ResponseWriter, r *http.Request, m *material) error {
	if _, err := m.backends.authenticate(r, h.sessions.now()); err != nil {
		return err
	}
	parameters, err := readForm(w, r)
	if err != nil {
		return err
	}
	if parameters["token"] == "" {
		return malformed("token is missing")
	}
	told, err := h.sessions.introspect(r.Context(), m, parameters["token"])
	if err != nil {
		return err
	}
	body, err := json.Marshal(told)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
	return nil
}
