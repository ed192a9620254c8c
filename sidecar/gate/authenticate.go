package gate

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/policy"
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
	KeyID   string // of the key that signed the token

	claims  *policy.Claims
	headers []string // the values of the gate's identity headers; "" where the app gets none
	expires time.Time
	until   time.Time // from then on the token is refused

	revoked *revocation.Set // nil: the issuer has no token service that could revoke anything
	session string          // revocation.SessionHash; "" for a token without session
}

// size is about how many bytes of memory the caller takes.
func (c *Caller) size() int {
	const own = 256
	size := own + len(c.Subject) + len(c.session) + c.claims.Size()
	for _, value := range c.headers {
		const header = 16
		size += header + len(value)
	}
	return size
}

func (c *Caller) claimsOrNil() *policy.Claims {
	if c == nil {
		return nil
	}
	return c.claims
}

// refused is why a token is refused. Its zero value says that it is not.
type refused struct {
	reason Reason
	detail string // for those who run the policy, never for callers
}

// passes says whether a younger token of the same session may do.
func (r refused) passes() bool {
	switch verify.Reason(r.reason) {
	case verify.Expired, verify.UnknownKey, verify.KeyExpired:
		return true
	default:
		return false
	}
}

// authenticate returns whom the token speaks for, or why it is refused. It waits, for a moment and no longer than ctx, if a foreign issuer
// has to be asked about its key.
func (g *Gate) authenticate(ctx context.Context, token string, now time.Time) (*Caller, Token, refused) {
	known := identify(token)
	caller, result := g.known.get(known), TokenCached
	// The cache judges no time: what has ended goes to the verifier like a token never seen, which says why it is refused.
	if caller == nil || !now.Before(caller.until) {
		verified, err := g.verify(token, now)
		if err != nil && g.refetched(ctx, err) {
			verified, err = g.verify(token, now)
		}
		if err != nil {
			return nil, TokenRefused, refused{reason: reasonOf(err)}
		}
		claims, unfit := g.claims[verified.Issuer].Apply(verified.Claims)
		if unfit != nil {
			return nil, TokenRefused, refused{Reason(unfit.Reason), unfit.Message}
		}
		verified.Claims = claims
		caller, result = g.newCaller(verified), TokenVerified
		g.known.put(known, caller)
	}
	if withdrawn := g.withdrawn(caller, now); withdrawn != "" {
		return nil, TokenRefused, refused{reason: withdrawn}
	}
	return caller, result, refused{}
}

// withdrawn says why a token that is good in itself is refused, or "".
func (g *Gate) withdrawn(caller *Caller, now time.Time) Reason {
	switch {
	case caller.revoked == nil:
		return ""
	case Revoked(caller):
		return ReasonRevoked
	case g.bound > 0 && now.Sub(caller.revoked.Confirmed()) > g.bound:
		return ReasonRevocationsUnknown
	}
	return ""
}

// Revoked reports whether the session of a caller has ended before its time.
func Revoked(caller *Caller) bool {
	return caller.revoked != nil && caller.revoked.Revoked(caller.session, caller.expires)
}

// Recheck says why the token of a caller that was taken before is refused now, or "". It is for what lasts longer than the judging of a request. A
// policy that only audits lets it last.
func (g *Gate) Recheck(caller *Caller, now time.Time) Reason {
	if g.program.Audits() {
		return ""
	}
	if !now.Before(caller.until) {
		return Reason(verify.Expired)
	}
	return g.withdrawn(caller, now)
}

func (g *Gate) verify(token string, now time.Time) (*verify.Token, error) {
	if g.verifier == nil {
		return nil, &verify.Refusal{Reason: verify.UnknownIssuer}
	}
	return g.verifier.Verify(token, now)
}

// refetched reports whether the issuer of a token that was refused for want of its key was asked again, and has answered.
func (g *Gate) refetched(ctx context.Context, err error) bool {
	var refusal *verify.Refusal
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Reason {
	case verify.UnknownKey, verify.KeyExpired, verify.IssuerUnavailable:
		from := g.refetch[refusal.Issuer]
		return from != nil && from.Refetch(ctx)
	default:
		return false
	}
}

func reasonOf(err error) Reason {
	var refusal *verify.Refusal
	if errors.As(err, &refusal) {
		return Reason(refusal.Reason)
	}
	return Reason(verify.Malformed) // not reached: Verify refuses with Refusals only
}

func (g *Gate) newCaller(token *verify.Token) *Caller {
	caller := &Caller{
		Issuer: token.Issuer, Subject: token.Subject, KeyID: token.KeyID, claims: g.program.Read(token.Claims), headers: g.program.Identify(token.Claims),
		expires: token.Expires, until: token.ValidUntil, revoked: g.revoked[token.Issuer],
	}
	if caller.revoked != nil && token.SessionID != "" {
		caller.session = revocation.SessionHash(token.Issuer, token.SessionID)
	}
	caller.detach()
	return caller
}

// detach gives the caller's texts memory of their own, in one piece: so far they are parts of the token's, all of which they would keep.
func (c *Caller) detach() {
	size := len(c.Subject) + len(c.session)
	for _, value := range c.headers {
		size += len(value)
	}
	var whole strings.Builder
	whole.Grow(size)
	whole.WriteString(c.Subject)
	whole.WriteString(c.session)
	for _, value := range c.headers {
		whole.WriteString(value)
	}
	rest := whole.String()
	take := func(text *string) { *text, rest = rest[:len(*text)], rest[len(*text):] }
	take(&c.Subject)
	take(&c.session)
	for i := range c.headers {
		take(&c.headers[i])
	}
}
