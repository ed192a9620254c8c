package policy

import "slices"

// Program is a compiled document. It never changes, and may be used by any number of goroutines.
type Program struct {
	rules     []rule
	paths     *node // every rule, by the paths that it matches
	folded    *node // the same in small letters; paths itself when no rule has a capital letter
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
//
// Many apps serve /Admin and /admin/ as /admin. So the path is judged as it is, and again folded, against rules that are folded alike: with
// ASCII letters in lower case, without a slash at the end, and with both, since an app may do one and not the other. Only what all
// judgements allow is allowed. The strictest speaks: the first of them where several are equally strict.
func (p *Program) Decide(method, path string, claims map[string]any) Decision {
	if !isMethod(method) {
		return Decision{Reason: ReasonMethodRefused, Rule: NoRule}
	}
	found := p.paths.find(method, path, nil)
	lettersMatter := found.capital || p.folded != p.paths
	if found.alike == found.first && !lettersMatter {
		return p.judge(found.first, claims)
	}
	decision := stricter(p.judge(found.first, claims), p.judge(found.alike, claims))
	if lettersMatter {
		var buffer [maxPattern]byte
		folded := p.folded.find(method, path, buffer[:])
		decision = stricter(decision, p.judge(folded.first, claims))
		decision = stricter(decision, p.judge(folded.alike, claims))
	}
	return decision
}

// judge decides by one rule, or by the default.
func (p *Program) judge(index int, claims map[string]any) Decision {
	switch {
	case index != none:
		return p.rules[index].decide(index, claims)
	case p.fallback.access == AccessDeny:
		return Decision{Reason: ReasonNoRule, Rule: NoRule}
	}
	return p.fallback.decide(NoRule, claims)
}

// stricter returns the stricter of two decisions about the same claims, a when neither is.
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
	case d.Reason == ReasonTokenRequired || d.Reason == ReasonClaimsNotMet: // another token may help
		return 1
	}
	return 2
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
