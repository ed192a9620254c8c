package policy

import "slices"

// Program is a compiled document. It never changes, and may be used by any number of goroutines.
type Program struct {
	rules     []rule
	paths     node // every rule, by the paths that it matches
	fallback  rule
	headers   []Header
	stripped  map[string]struct{} // folded names
	longest   int                 // of the names in stripped
	keepToken bool
}

type rule struct {
	access       Access
	requirements []requirement
}

// Headers are the identity headers in force.
func (p *Program) Headers() []Header { return slices.Clone(p.headers) }

// KeepToken says whether the app sees the token.
func (p *Program) KeepToken() bool { return p.keepToken }

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
	// ReasonDenied means that the rule lets nobody pass: 403.
	ReasonDenied Reason = "denied"
	// ReasonNoRule means that no rule matches, and the default is to deny: 403.
	ReasonNoRule Reason = "no_rule"
	// ReasonMethodRefused means that the method is not written in capital letters, so that what the app would take it for is anyone's
	// guess: frameworks differ on whether "delete" is DELETE. Or it is CONNECT: in a tunnel nothing more would be judged. 400.
	ReasonMethodRefused Reason = "method_refused"
)

// Decide judges a request by its method, by its path as Normalize returns it, and by the claims of its valid token, nil when it has none.
// It allocates nothing, and its cost depends on the segments of the path, not on the number of rules.
func (p *Program) Decide(method, path string, claims map[string]any) Decision {
	if !isMethod(method) {
		return Decision{Reason: ReasonMethodRefused, Rule: NoRule}
	}
	index := p.paths.first(method, path)
	if index == none {
		if p.fallback.access == AccessDeny {
			return Decision{Reason: ReasonNoRule, Rule: NoRule}
		}
		return p.fallback.decide(NoRule, claims)
	}
	return p.rules[index].decide(index, claims)
}

func (r *rule) decide(index int, claims map[string]any) Decision {
	switch {
	case r.access == AccessAnonymous:
		return Decision{Allow: true, Reason: ReasonAnonymous, Rule: index}
	case r.access != AccessAuthenticated:
		return Decision{Reason: ReasonDenied, Rule: index}
	case claims == nil:
		return Decision{Reason: ReasonTokenRequired, Rule: index}
	}
	for i := range r.requirements {
		if !r.requirements[i].metBy(claims) {
			return Decision{Reason: ReasonClaimsNotMet, Rule: index}
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
