package gate

import (
	"net/http"
	"time"

	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// Reason is why a request may pass or not. Its values are stable: those below, those of policy.Reason, and those of verify.Reason and
// policy.ClaimReason where a token was required and the one that came was refused.
type Reason string

const (
	// ReasonSeveralCredentials says that there is more than one token, or one place for tokens twice. Whichever we read, the app might read
	// the other.
	ReasonSeveralCredentials Reason = "several_credentials"
	// ReasonRevoked says that the token's session has ended.
	ReasonRevoked Reason = "revoked"
	// ReasonCrossOrigin says that the token came in a cookie, and a page of another origin may have made the browser send it.
	ReasonCrossOrigin Reason = "cross_origin"
	// ReasonAmbiguousHost says that two readers could take the Host for two different ones.
	ReasonAmbiguousHost Reason = "ambiguous_host"
	// ReasonRevocationsUnknown says that the issuer's token service has not been heard for longer than the policy bears.
	ReasonRevocationsUnknown Reason = "revocations_unknown"
	// ReasonInvalidToken is what callers are told of most tokens that are refused, see Told.
	ReasonInvalidToken Reason = "invalid_token"
)

// Verdict is what a Gate says about one request.
type Verdict struct {
	Allow  bool
	Reason Reason
	// Audited says that the policy refuses the request and lets it pass all the same, since it only audits: Reason and Status are those of the
	// refusal, and Allow is true.
	Audited bool
	// Detail says more about a token that was refused. It is for those who run the policy, never for callers.
	Detail string
	Caller *Caller // whose valid token came with the request; nil when none did
	Token  Token   // what became of the token
	Rule   int     // index of the rule that decided, or policy.NoRule
	Status int     // of the refusal: 400, 401, 403, or 503 when it says nothing about the request
	// Challenge is the WWW-Authenticate header of the refusal (RFC 6750 section 3); "" where another token would not help.
	Challenge string
	// Session says that the token came in the cookie of the user's session, and Renewable that the session could bring a good one in place of
	// what was there, if anything.
	Session, Renewable bool
}

// Judge decides about a request with this normalised path. What was allowed before is never remembered: only whose token it is.
func (g *Gate) Judge(r *http.Request, path string, now time.Time) Verdict {
	host, ok := hostOf(r)
	if !ok {
		return Verdict{Status: http.StatusBadRequest, Reason: ReasonAmbiguousHost, Token: TokenNone, Rule: policy.NoRule}
	}
	found, err := g.sources.Find(r.Header, r.URL.RawQuery)
	if err != nil {
		return Verdict{
			Status: http.StatusBadRequest, Reason: ReasonSeveralCredentials, Token: TokenRefused, Rule: policy.NoRule,
			Challenge: `Bearer error="invalid_request"`,
		}
	}
	var caller *Caller
	var unfit refused
	token := TokenNone
	switch {
	case !found.Present:
	case found.Ambient && !g.origins.Trusts(r):
		token, unfit = TokenRefused, refused{reason: ReasonCrossOrigin}
	default:
		caller, token, unfit = g.authenticate(r.Context(), found.Token, now)
	}
	renewable := g.sources.HasSession() && (!found.Present || found.Session && unfit.passes()) && g.origins.Trusts(r)

	asked := policy.Request{Method: r.Method, Host: host, Path: path, Query: r.URL.RawQuery, Header: r.Header, Credentials: g.sources}
	decision := g.program.Decide(asked, caller.claimsOrNil())
	verdict := Verdict{
		Allow: decision.Allow, Reason: Reason(decision.Reason), Caller: caller, Token: token, Rule: decision.Rule, Session: found.Session,
	}
	if !decision.Allow {
		g.refuse(&verdict, decision, unfit)
	}
	verdict.Renewable = renewable && (verdict.Allow || verdict.Status == http.StatusUnauthorized)
	return verdict
}

// refuse says how a refusal is told to the caller. A policy that only audits lets it pass, but for what two readers could take for two different
// requests: nobody knows what that would be let through as.
func (g *Gate) refuse(verdict *Verdict, decision policy.Decision, unfit refused) {
	verdict.Status = decision.Status()
	switch decision.Reason {
	case policy.ReasonMethodRefused, policy.ReasonHostMissing:
		return
	case policy.ReasonTokenRequired:
		switch unfit.reason {
		case "":
			// No error code, as nothing was wrong with what was sent; but the scheme wants one parameter (RFC 6750 section 3).
			verdict.Challenge = `Bearer realm="app"`
		case ReasonCrossOrigin:
			verdict.Status, verdict.Reason = http.StatusForbidden, unfit.reason // another token would not help
		case Reason(verify.IssuerUnavailable):
			verdict.Status, verdict.Reason = http.StatusServiceUnavailable, unfit.reason // 401 would sign clients out whose tokens may be good
		default:
			verdict.Reason, verdict.Detail = unfit.reason, unfit.detail
			verdict.Status, verdict.Challenge = tokenRefused(unfit.reason)
		}
	case policy.ReasonInsufficientScope:
		verdict.Challenge = `Bearer error="insufficient_scope", scope="` + g.program.RequiredScope(decision.Rule) + `"`
	case policy.ReasonClaimsNotMet, policy.ReasonExpressionFalse, policy.ReasonExpressionError:
		verdict.Challenge = `Bearer error="insufficient_scope"`
	default: // denied to everybody: another token would not help
	}
	if g.program.Audits() {
		verdict.Allow, verdict.Audited = true, true
	}
}

// hostOf returns the host that the app will see, as rules compare it. HTTP/2 can bring a Host beside its :authority, and who reads which is
// anyone's guess.
func hostOf(r *http.Request) (string, bool) {
	for _, other := range r.Header["Host"] {
		if other != r.Host {
			return "", false
		}
	}
	host, err := policy.NormalizeHost(r.Host)
	return host, err == nil
}

// Audits reports whether the policy lets everything pass and only says what it would refuse.
func (g *Gate) Audits() bool { return g.program.Audits() }

// Withdrawn is the verdict on a request that was let through with a token that is taken no more. Reason says why.
func Withdrawn(reason Reason, caller *Caller) Verdict {
	verdict := Verdict{Reason: reason, Caller: caller, Token: TokenRefused, Rule: policy.NoRule}
	verdict.Status, verdict.Challenge = tokenRefused(reason)
	return verdict
}

// tokenRefused says how the refusal of a token is told to the caller.
func tokenRefused(reason Reason) (status int, challenge string) {
	if reason == ReasonRevocationsUnknown { // nothing is wrong with the token, so far as anybody knows
		return http.StatusServiceUnavailable, ""
	}
	challenge = `Bearer error="invalid_token"`
	if told := reason.Told(); told != ReasonInvalidToken {
		challenge += `, error_description="` + string(told) + `"`
	}
	return http.StatusUnauthorized, challenge
}
