package issuer

import (
	"encoding/json"
	"net/http"
	"regexp"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/scope"
)

// CookieName is the cookie of the refresh token. Browsers take the prefix only together with Secure (RFC 6265bis, section 4.1.3.1).
const CookieName = "__Secure-latchkey-refresh"

// carrier is the way of refresh tokens between a client and the token service. What comes by the other way is not looked at.
type carrier struct {
	delivery config.Delivery
	path     string // of the cookie
}

// prefixPattern is what may be the Path of a cookie: no character in it ends an attribute.
var prefixPattern = regexp.MustCompile(`^/[A-Za-z0-9._~/-]{0,255}$`)

// carrierOf returns the way that the configuration prescribes. The browser shall send the cookie below the prefix under which the sidecar
// offers these routes, so that it does not travel with every request.
func carrierOf(r *http.Request, m *material) (carrier, error) {
	way := carrier{delivery: m.config.Delivery, path: "/"}
	switch values := r.Header["X-Forwarded-Prefix"]; {
	case len(values) == 0:
	case len(values) > 1 || !prefixPattern.MatchString(values[0]):
		return carrier{}, malformed("X-Forwarded-Prefix must be a path")
	default:
		way.path = values[0]
	}
	return way, nil
}

// read returns the refresh token of a request, or errNoSession where there is none.
func (c carrier) read(w http.ResponseWriter, r *http.Request) (string, error) {
	if c.delivery == config.DeliverByCookie {
		return readCookie(r)
	}
	var body struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := readJSON(w, r, &body, `{"refresh_token":"..."}`); err != nil {
		return "", err
	}
	if body.RefreshToken == "" {
		return "", errNoSession
	}
	return body.RefreshToken, nil
}

// brought returns the refresh token that comes with a request which needs none, or "". Of two, nobody knows which is the browser's own.
func (c carrier) brought(r *http.Request) string {
	if c.delivery != config.DeliverByCookie {
		return ""
	}
	token, err := readCookie(r)
	if err != nil {
		return ""
	}
	return token
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

// grant answers with the tokens.
func (c carrier) grant(w http.ResponseWriter, g grant) error {
	if c.delivery == config.DeliverByCookie {
		c.setCookie(w, g.refreshToken, max(int(g.endsIn/time.Second), 1))
		g.refreshToken = ""
	}
	return writeGrant(w, g)
}

// clear takes the cookie of a session that has ended from the browser.
func (c carrier) clear(w http.ResponseWriter) {
	if c.delivery == config.DeliverByCookie {
		c.setCookie(w, "", -1)
	}
}

func (c carrier) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: CookieName, Value: value, Path: c.path, MaxAge: maxAge,
		HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
}

// writeGrant answers to login and refresh as RFC 6749, section 5.1, has it. A refresh token that travels otherwise is left out.
func writeGrant(w http.ResponseWriter, g grant) error {
	body, err := json.Marshal(struct { //nolint:gosec // the client asked for it
		AccessToken      string `json:"access_token"`
		TokenType        string `json:"token_type"`
		ExpiresIn        int64  `json:"expires_in"`
		RefreshToken     string `json:"refresh_token,omitempty"`
		RefreshExpiresIn int64  `json:"refresh_expires_in"`
		Scope            string `json:"scope,omitempty"`
	}{g.accessToken, "Bearer", int64((g.expiresIn + time.Second - 1) / time.Second), g.refreshToken, int64(g.endsIn / time.Second), scope.Format(g.scopes)})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
	return nil
}
