package gate

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/revocation"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// Token says what became of the bearer token of a request.
type Token string

const (
	// TokenNone says that there was none.
	TokenNone Token = "none"
	// TokenCached says that it was verified before.
	TokenCached Token = "cached"
	// TokenVerified says that it was verified now.
	TokenVerified Token = "verified"
	// TokenRefused says that it is not valid, or not any more.
	TokenRefused Token = "refused"
)

// Caller is whom a valid token speaks for.
type Caller struct {
	Issuer  string
	Subject string

	claims  map[string]any
	headers []identityHeader
	expires time.Time
	until   time.Time // from then on the token is refused
	length  int       // of the token, in bytes

	revoked *revocation.Set // nil: the issuer has no token service that could revoke anything
	session string          // revocation.SessionHash; "" for a token without session
}

func (c *Caller) claimsOrNil() map[string]any {
	if c == nil {
		return nil
	}
	return c.claims
}

// authenticate returns whom the token speaks for, or why it is refused.
func (g *Gate) authenticate(token string, now time.Time) (*Caller, Token, Reason) {
	var buffer [1024]byte // most tokens fit, and so are hashed without an allocation
	key := sha256.Sum256(append(buffer[:0], token...))
	caller, result := g.known.get(key), TokenCached
	// The cache judges no time: what has ended goes to the verifier like a token never seen, which says why it is refused.
	if caller == nil || !now.Before(caller.until) {
		verified, err := g.verify(token, now)
		if err != nil {
			return nil, TokenRefused, reasonOf(err)
		}
		caller, result = g.newCaller(verified, len(token)), TokenVerified
		g.known.put(key, caller)
	}
	if caller.revoked != nil && caller.revoked.Revoked(caller.session, caller.expires) {
		return nil, TokenRefused, ReasonRevoked
	}
	return caller, result, ""
}

func (g *Gate) verify(token string, now time.Time) (*verify.Token, error) {
	if g.verifier == nil {
		return nil, &verify.Refusal{Reason: verify.UnknownIssuer}
	}
	return g.verifier.Verify(token, now)
}

func reasonOf(err error) Reason {
	var refusal *verify.Refusal
	if errors.As(err, &refusal) {
		return Reason(refusal.Reason)
	}
	return Reason(verify.Malformed) // not reached: Verify refuses with Refusals only
}

func (g *Gate) newCaller(token *verify.Token, length int) *Caller {
	caller := &Caller{
		Issuer: token.Issuer, Subject: token.Subject, claims: token.Claims, headers: g.identify(token.Claims),
		expires: token.Expires, until: token.ValidUntil, length: length, revoked: g.revoked[token.Issuer],
	}
	if caller.revoked != nil && token.SessionID != "" {
		caller.session = revocation.SessionHash(token.Issuer, token.SessionID)
	}
	return caller
}

// bearerToken returns the token of an Authorization header with the Bearer scheme (RFC 6750 section 2.1), as it was sent: the verifier
// takes no white space or other freedom in it.
func bearerToken(authorization string) (string, bool) {
	scheme, token, _ := strings.Cut(authorization, " ")
	return strings.TrimLeft(token, " "), strings.EqualFold(scheme, "Bearer")
}

// bearsToken reports whether a request carries what an app could take for a bearer token, valid or not. Some split at any white space, a tab
// or what Latin-1 counts as one, so whatever is not of the scheme's name ends it here.
func bearsToken(header http.Header) bool {
	const scheme = "Bearer"
	for _, value := range header["Authorization"] {
		if len(value) >= len(scheme) && strings.EqualFold(value[:len(scheme)], scheme) && !inScheme(value[len(scheme):]) {
			return true
		}
	}
	return false
}

// inScheme reports whether the name of a scheme would go on here: with a letter, a digit, or one of the other characters of a token (RFC
// 9110 section 5.6.2) that schemes in use have.
func inScheme(rest string) bool {
	if rest == "" {
		return false
	}
	c := rest[0] | 0x20
	return 'a' <= c && c <= 'z' || '0' <= rest[0] && rest[0] <= '9' || rest[0] == '-' || rest[0] == '_'
}
