package policy

import (
	"net/http"
	"slices"
)

// Program is a compiled document. It never changes, and may be used by any number of goroutines.
type Program struct {
	rules     []rule
	index     *index
	fallback  rule
	headers   []Header
	questions questions                 // of rules, to claims
	visible   visible                   // to expressions
	values    []claimAt                 // of headers
	stripped  map[string]struct{}       // folded names
	initials  [maxHeaderName + 1]uint32 // of the names in stripped, by length
	keepToken bool
	audits    bool
}

type rule struct {
	access       Access
	requirements []int  // questions
	scopes       []int  // questions
	scope        string // all scopes, with spaces between them
	expression   *expression
}

// Headers are the identity headers in force.
func (p *Program) Headers() []Header { return slices.Clone(p.headers) }

// KeepToken says whether the app sees the token.
func (p *Program) KeepToken() bool { return p.keepToken }

// Audits says whether refusals are told of rather than carried out: ModeAudit. Decide says what it always says.
func (p *Program) Audits() bool { return p.audits }

// RequiredScope is all that the rule of this index requires of scopes, with spaces between them, fit for the challenge of RFC 6750 section 3; ""
// for none, and for NoRule.
func (p *Program) RequiredScope(rule int) string {
	if rule < 0 || rule >= len(p.rules) {
		return ""
	}
	return p.rules[rule].scope
}

// Decision is what a program says about one request.
type Decision struct {
	Allow  bool
	Reason Reason
	// Rule is the index in the document of the rule that decided, or NoRule.
	Rule int
}

// NoRule is the index of the rule when none matched.
const NoRule = -1

// Reason is why a request was allowed or not. Its values are stable: callers, alerts and logs may rely on them.
type Reason string

const (
	// ReasonAnonymous means that the rule lets everybody pass.
	ReasonAnonymous Reason = "anonymous"
	// ReasonAuthenticated means that the token is valid and has the claims that the rule requires.
	ReasonAuthenticated Reason = "authenticated"
	// ReasonTokenRequired means that the rule requires a valid token and there is none. A token may help: 401.
	ReasonTokenRequired Reason = "token_required"
	// ReasonClaimsNotMet means that the token is valid, but has not the claims that the rule requires. Another token may help: 403.
	ReasonClaimsNotMet Reason = "claims_not_met"
	// ReasonInsufficientScope means that the token is valid and has the claims, but not the scopes that the rule requires. Another token may
	// help: 403.
	ReasonInsufficientScope Reason = "insufficient_scope"
	// ReasonExpressionFalse means that the token is valid, and the rule's expression is not true of it and the request. Another token may
	// help: 403.
	ReasonExpressionFalse Reason = "expression_false"
	// ReasonExpressionError means that the rule's expression has no value here: a claim that it takes for granted is missing or has another
	// type, or it costs too much. Another token may help: 403.
	ReasonExpressionError Reason = "expression_error"
	// ReasonDenied means that the rule lets nobody pass: 403.
	ReasonDenied Reason = "denied"
	// ReasonNoRule means that no rule matches, and the default is to deny: 403.
	ReasonNoRule Reason = "no_rule"
	// ReasonMethodRefused means that the method is not written in capital letters, so that what the app would take it for is anyone's
	// guess: frameworks differ on whether "delete" is DELETE. Or it is CONNECT: in a tunnel nothing more would be judged. 400.
	ReasonMethodRefused Reason = "method_refused"
	// ReasonHostMissing means that the request names no host, and there are rules that ask for one. What the app takes it to be is anyone's
	// guess. 400.
	ReasonHostMissing Reason = "host_missing"
)

// Status is the HTTP status that tells a refusal to its caller, 0 for what is allowed.
func (d Decision) Status() int {
	switch {
	case d.Allow:
		return 0
	case d.Reason == ReasonMethodRefused || d.Reason == ReasonHostMissing:
		return http.StatusBadRequest
	case d.Reason == ReasonTokenRequired:
		return http.StatusUnauthorized
	}
	return http.StatusForbidden
}

// Decide judges a request by the claims of its valid token, nil when it has none: see Read. It allocates nothing, but for expressions, and its cost depends on
// the labels of the host and the segments of the path, not on the number of rules that do not match them.
//
// Many apps serve /Admin and /admin/ as /admin. So the path is judged as it is, and again folded, against rules that are folded alike: with
// ASCII letters in lower case, without a slash at the end, and with both, since an app may do one and not the other. Only what all
// judgements allow is allowed. The strictest speaks: the first of them where several are equally strict. Expressions always see the path as it is.
func (p *Program) Decide(r Request, claims *Claims) Decision {
	if claims != nil && claims.program != p {
		claims = nil // what another program has read says nothing here
	}
	switch {
	case !isMethod(r.Method):
		return Decision{Reason: ReasonMethodRefused, Rule: NoRule}
	case r.Host == "" && p.index.named != nil:
		return Decision{Reason: ReasonHostMissing, Rule: NoRule}
	}
	found := p.index.find(r.Host, r.Path, r.Method, nil)
	decision := p.judge(found.first, r, claims)
	if found.alike != found.first {
		decision = stricter(decision, p.judge(found.alike, r, claims))
	}
	if !found.capital && !p.index.capitals {
		return decision
	}
	var buffer [maxPattern]byte
	folded := p.index.find(r.Host, r.Path, r.Method, buffer[:])
	if folded.first != found.first {
		decision = stricter(decision, p.judge(folded.first, r, claims))
	}
	if folded.alike != folded.first && folded.alike != found.alike {
		decision = stricter(decision, p.judge(folded.alike, r, claims))
	}
	return decision
}

// judge decides by one rule, or by the default.
func (p *Program) judge(index int, r Request, claims *Claims) Decision {
	switch {
	case index != none:
		return p.rules[index].decide(index, r, claims)
	case p.fallback.access == AccessDeny:
		return Decision{Reason: ReasonNoRule, Rule: NoRule}
	}
	return p.fallback.decide(NoRule, r, claims)
}

// stricter returns the stricter of two decisions about the same request, a when neither is.
func stricter(a, b Decision) Decision {
	if b.strictness() > a.strictness() {
		return b
	}
	return a
}

func (d Decision) strictness() int {
	switch {
	case d.Allow:
		return 0
	case d.Reason == ReasonDenied || d.Reason == ReasonNoRule:
		return 2
	}
	return 1 // another token may help
}

func (r *rule) decide(index int, request Request, claims *Claims) Decision {
	switch {
	case r.access == AccessAnonymous:
		return Decision{Allow: true, Reason: ReasonAnonymous, Rule: index}
	case r.access != AccessAuthenticated:
		return Decision{Reason: ReasonDenied, Rule: index}
	case claims == nil:
		return Decision{Reason: ReasonTokenRequired, Rule: index}
	}
	for _, requirement := range r.requirements {
		if !claims.isMet(requirement) {
			return Decision{Reason: ReasonClaimsNotMet, Rule: index}
		}
	}
	for _, scope := range r.scopes {
		if !claims.isMet(scope) {
			return Decision{Reason: ReasonInsufficientScope, Rule: index}
		}
	}
	if r.expression != nil {
		if reason := r.expression.judge(request, claims.seen); reason != "" {
			return Decision{Reason: reason, Rule: index}
		}
	}
	return Decision{Allow: true, Reason: ReasonAuthenticated, Rule: index}
}

// isMethod says whether s looks like the methods that rules name: capital letters and "-". CONNECT is none of them: it asks for a tunnel.
func isMethod(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c != '-' || i == 0) {
			return false
		}
	}
	return s != "" && s != "CONNECT"
}
