package gate

import (
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

// Reason is why a request may pass or not. Its values are stable: those below, those of policy.Reason, and those of verify.Reason where a
// token was required and the one that came was refused.
type Reason string

const (
	// ReasonSeveralCredentials says that there is more than one token, or one place for tokens twice. Whichever we read, the app might read
	// the other.
	ReasonSeveralCredentials Reason = "several_credentials"
	// ReasonRevoked says that the token's session has ended.
	ReasonRevoked Reason = "revoked"
	// ReasonCrossOrigin says that the token came in a cookie, and a page of another origin may have made the browser send it.
	ReasonCrossOrigin Reason = "cross_origin"
)

// Verdict is what a Gate says about one request.
type Verdict struct {
	Allow  bool
	Reason Reason
	Caller *Caller // whose valid token came with the request; nil when none did
	Token  Token   // what became of the token
	Rule   int     // index of the rule that decided, or policy.NoRule
	Status int     // of the refusal: 400, 401 or 403
	// Challenge is the WWW-Authenticate header of the refusal (RFC 6750 section 3); "" where another token would not help.
	Challenge string
}

// Judge decides about a request with this normalised path. What was allowed before is never remembered: only whose token it is.
func (g *Gate) Judge(r *http.Request, path string, now time.Time) Verdict {
	found, err := g.sources.Find(r.Header, r.URL.RawQuery)
	if err != nil {
		return Verdict{
			Status: http.StatusBadRequest, Reason: ReasonSeveralCredentials, Token: TokenRefused, Rule: policy.NoRule,
			Challenge: `Bearer error="invalid_request"`,
		}
	}
	var caller *Caller
	token, refused := TokenNone, Reason("")
	switch {
	case !found.Present:
	case found.Ambient && !g.origins.Trusts(r):
		token, refused = TokenRefused, ReasonCrossOrigin
	default:
		caller, token, refused = g.authenticate(found.Token, now)
	}

	decision := g.program.Decide(r.Method, path, caller.claimsOrNil())
	verdict := Verdict{Allow: decision.Allow, Reason: Reason(decision.Reason), Caller: caller, Token: token, Rule: decision.Rule}
	switch {
	case decision.Allow:
	case decision.Reason == policy.ReasonMethodRefused:
		verdict.Status = http.StatusBadRequest
	case decision.Reason == policy.ReasonTokenRequired && refused == ReasonCrossOrigin:
		verdict.Status, verdict.Reason = http.StatusForbidden, refused // another token would not help
	case decision.Reason == policy.ReasonTokenRequired && refused != "":
		verdict.Status = http.StatusUnauthorized
		verdict.Reason = refused
		verdict.Challenge = `Bearer error="invalid_token", error_description="` + string(refused) + `"`
	case decision.Reason == policy.ReasonTokenRequired:
		verdict.Status = http.StatusUnauthorized
		verdict.Challenge = "Bearer" // no error code, as nothing was wrong with what was sent
	case decision.Reason == policy.ReasonClaimsNotMet:
		verdict.Status = http.StatusForbidden
		verdict.Challenge = `Bearer error="insufficient_scope"`
	default:
		verdict.Status = http.StatusForbidden
	}
	return verdict
}
