package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/issuer/webhook"
	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// identity is a user who is known to be the one, and by whose word.
type identity struct {
	user    *users.User
	foreign bool // it was the app's word, and users.yaml knows nothing of them
}

// remembered is what a session keeps of an identity, as JSON in store.Session.Data.
type remembered struct {
	// Password is users.User.Fingerprint: the session ends with the password that began it.
	Password string `json:"password,omitempty"`
	// Claims are what the app said of the user at sign-in. They are the same as long as the session lives.
	Claims map[string]json.RawMessage `json:"claims,omitempty"`
	// Foreign says that users.yaml does not decide about the user.
	Foreign bool `json:"foreign,omitempty"`
}

func (i identity) data() (string, error) {
	keep := remembered{Password: i.user.Fingerprint()}
	if i.foreign {
		keep = remembered{Foreign: true, Claims: i.user.Claims}
	}
	data, err := json.Marshal(keep) //nolint:gosec // a fingerprint, for the session
	return string(data), err
}

// whose returns the user of a session as they are known now, or why the session is over.
func (m *material) whose(s store.Session) (*users.User, string) {
	// Nearly always it is what would be kept of the user now, and need not be read.
	user, known := m.listed(s.User)
	if known && user.Name == s.User {
		if data, err := (identity{user: user}).data(); err == nil && data == s.Data {
			return user, ""
		}
	}
	var kept remembered
	if strictjson.Unmarshal([]byte(s.Data), &kept) != nil {
		return nil, endedByRemoval // not by us: nothing says whose it is
	}
	if kept.Foreign {
		if m.config.Login.Webhook == nil && m.config.Login.Backends == nil {
			return nil, endedByRemoval // nobody is left whose word it was
		}
		foreign, err := users.Vet(s.User, kept.Claims)
		if err != nil {
			return nil, endedByRemoval // a claim became the token service's own since then
		}
		return foreign, ""
	}
	switch {
	case !known || user.Name != s.User:
		return nil, endedByRemoval
	case user.Fingerprint() != kept.Password:
		return nil, endedByPassword
	}
	return user, ""
}

// listed returns the user of users.yaml whom a name stands for. Where it is no longer asked for it counts for nothing, though this pod may have it still.
func (m *material) listed(name string) (*users.User, bool) {
	if !m.config.Login.Users {
		return nil, false
	}
	return m.users.Find(name)
}

// authenticate checks a password when there is room for it, or has the app check it. It returns errInvalidCredentials for every name and
// password that do not go together, for whatever reason.
func (s *sessions) authenticate(ctx context.Context, m *material, name string, password []byte, device store.Device, trace http.Header) (identity, error) {
	switch {
	case m.webhook != nil:
		user, err := m.webhook.Ask(ctx, m.webhookSecrets, webhook.Attempt{
			Username: name, Password: string(password), Address: device.Address, UserAgent: device.UserAgent, Trace: trace,
		}, s.now())
		switch {
		case errors.Is(err, webhook.ErrRefused):
			return identity{}, errInvalidCredentials
		case errors.Is(err, webhook.ErrBusy):
			return identity{}, errBusy
		case err != nil:
			return identity{}, fmt.Errorf("%w: %w", errLoginUnavailable, err)
		}
		return identity{user: user, foreign: true}, nil
	case !m.config.Login.Users: // only backends sign users in
		return identity{}, errInvalidCredentials
	}
	leave, err := s.gate.enter(ctx, m.users.CheckMemory())
	if err != nil {
		return identity{}, err
	}
	defer leave()
	user, ok := m.users.Authenticate(name, password)
	if !ok {
		return identity{}, errInvalidCredentials
	}
	return identity{user: user}, nil
}
