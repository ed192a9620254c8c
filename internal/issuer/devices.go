package issuer

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// The routes of this file show a user their own sessions, and end them. They take the access token, which a page of another origin does not
// have, and of a session that is still there: what was signed out shows nothing any more, within its minutes either.

// own returns the session whose access token comes with a request.
func (h *handler) own(r *http.Request, m *material) (store.Session, error) {
	token, ok := bearer(r)
	if !ok {
		return store.Session{}, errInvalidToken
	}
	found, err := h.sessions.living(r.Context(), m, token)
	if err == errNoSession { //nolint:errorlint // it is returned as it is
		return store.Session{}, errInvalidToken
	}
	return found, err
}

// device is one session as its user sees it.
type device struct {
	ID        string    `json:"id"`
	Current   bool      `json:"current"`
	CreatedAt time.Time `json:"created_at"`
	LastUsed  time.Time `json:"last_used_at"`
	Address   string    `json:"address"`
	UserAgent string    `json:"user_agent"`
}

func (h *handler) listSessions(w http.ResponseWriter, r *http.Request, m *material) error {
	own, err := h.own(r, m)
	if err != nil {
		return err
	}
	all, err := h.sessions.list(r.Context(), m, own)
	if err != nil {
		return err
	}
	told := struct {
		Sessions []device `json:"sessions"`
	}{make([]device, len(all))}
	for i, each := range all {
		told.Sessions[i] = device{
			ID: each.ID.String(), Current: each.ID == own.ID, CreatedAt: each.CreatedAt.UTC(), LastUsed: each.RotatedAt.UTC(),
			Address: each.Device.Address, UserAgent: each.Device.UserAgent,
		}
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

// endSession ends one session of the user. If it is this one, its cookie is worth nothing any more.
func (h *handler) endSession(w http.ResponseWriter, r *http.Request, m *material) error {
	way, err := carrierOf(r, m)
	if err != nil {
		return err
	}
	own, err := h.own(r, m)
	if err != nil {
		return err
	}
	id, err := store.ParseSessionID(r.PathValue("id"))
	if err != nil {
		return errNoSuchSession
	}
	if err := h.sessions.end(r.Context(), own, id, h.auditFor(r, h.deviceOf(r, m))); err != nil {
		return err
	}
	if id == own.ID {
		way.clear(w)
	}
	noContent(w)
	return nil
}

// endOthers ends all sessions of the user but this one, as after a new password.
func (h *handler) endOthers(w http.ResponseWriter, r *http.Request, m *material) error {
	own, err := h.own(r, m)
	if err != nil {
		return err
	}
	if err := h.sessions.endAll(r.Context(), own.User, own.ID, endedByUser, h.auditFor(r, h.deviceOf(r, m))); err != nil {
		return err
	}
	noContent(w)
	return nil
}

// logoutAll ends all sessions of the user, this one too.
func (h *handler) logoutAll(w http.ResponseWriter, r *http.Request, m *material) error {
	way, err := carrierOf(r, m)
	if err != nil {
		return err
	}
	own, err := h.own(r, m)
	if err != nil {
		return err
	}
	if err := h.sessions.endAll(r.Context(), own.User, store.SessionID{}, endedByUser, h.auditFor(r, h.deviceOf(r, m))); err != nil {
		return err
	}
	way.clear(w)
	noContent(w)
	return nil
}

func noContent(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}
