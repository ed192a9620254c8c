package issuer

import (
	"crypto/rand"
	"encoding/json"
	"slices"
	"time"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/scope"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// tokenType is the typ of access tokens (RFC 9068, section 2.1).
const tokenType = "at+jwt"

// clientID is the client_id that RFC 9068 requires. There are no registered clients: every app reaches the token service on its own origin,
// through its own sidecar, and what tells apps apart is the audience.
const clientID = "latchkey"

// accessToken signs what is known of the user now. Claims are those of RFC 9068, and sid (OpenID Connect Front-Channel Logout 1.0), by which
// the token is revoked with its session. Without scopes it has no claim scope.
func (m *material) accessToken(user *users.User, scopes []string, s store.Session, now, expires time.Time) (string, error) {
	var id [16]byte
	rand.Read(id[:])
	claims := make(map[string]any, len(user.Claims)+10)
	for name, value := range user.Claims {
		claims[name] = value
	}
	// After the user's own claims, none of which has such a name (package users sees to it), so that these win in any case.
	claims["iss"] = m.config.Issuer
	claims["sub"] = user.Name
	claims["aud"] = m.config.Audiences
	claims["iat"] = now.Unix()
	claims["exp"] = expires.Unix()
	claims["auth_time"] = s.CreatedAt.Unix()
	claims["jti"] = base64url.Encode(id[:])
	claims["sid"] = s.ID.String()
	claims["client_id"] = clientID
	delete(claims, "scope")
	if len(scopes) > 0 {
		claims["scope"] = scope.Format(scopes)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return m.keys.active.Sign(tokenType, payload)
}

// scopes are what a user's tokens are good for: their own, or those of everybody.
func (m *material) scopes(user *users.User) []string {
	if own, said := user.Scopes(); said {
		return own
	}
	return m.config.Scopes
}

// narrow is what a client gets that asks for some of the scopes that were granted (RFC 6749, section 6). Who asks for none gets all.
func narrow(granted, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return granted, nil
	}
	for _, each := range asked {
		if !slices.Contains(granted, each) {
			return nil, errInvalidScope
		}
	}
	return asked, nil
}

// verify takes an access token of ours, as any sidecar would.
func (m *material) verify(token string, now time.Time) (*verify.Token, error) {
	own, err := verify.New([]verify.Issuer{{URL: m.config.Issuer, Audiences: m.config.Audiences, TokenType: tokenType, Keys: m.keys.verifying}})
	if err != nil {
		return nil, err
	}
	return own.Verify(token, now)
}

// session returns the session that an access token of ours is of, or errNoSession. Whether that session is still there is another question.
func (m *material) session(token string, now time.Time) (store.SessionID, error) {
	verified, err := m.verify(token, now)
	if err != nil {
		return store.SessionID{}, errNoSession
	}
	id, err := store.ParseSessionID(verified.SessionID)
	if err != nil {
		return store.SessionID{}, errNoSession
	}
	return id, nil
}
