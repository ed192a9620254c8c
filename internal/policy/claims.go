package policy

import (
	"slices"
	"strings"
)

// Claims are those of one valid token, as a Program reads them: those that its rules name are found already. They never change, and may be used by
// any number of goroutines.
type Claims struct {
	program *Program // that read them
	all     map[string]any
	named   []any // as in the program's named
}

// Read finds in the claims of a token what rules ask for, so that it need not be looked for on every request. It returns nil for nil: no token.
func (p *Program) Read(claims map[string]any) *Claims {
	if claims == nil {
		return nil
	}
	read := &Claims{program: p, all: claims, named: make([]any, len(p.named))}
	for i, name := range p.named {
		read.named[i] = compileClaim(name).in(claims)
	}
	return read
}

// name returns where in named the claim of this name is found.
func (p *Program) name(claim string) int {
	at := slices.Index(p.named, claim)
	if at < 0 {
		at = len(p.named)
		p.named = append(p.named, claim)
	}
	return at
}

// requirement is a compiled Requirement.
type requirement struct {
	claim int // in named
	anyOf map[string]struct{}
}

func (p *Program) compileRequirement(r Requirement) requirement {
	anyOf := make(map[string]struct{}, len(r.AnyOf))
	for _, value := range r.AnyOf {
		anyOf[value] = struct{}{}
	}
	return requirement{claim: p.name(r.Claim), anyOf: anyOf}
}

// metBy wants a string among anyOf, or a list that holds one. Numbers, booleans and objects never meet a requirement: "1" and 1 are
// different claims, and an issuer that mixes them up should not be guessed at.
func (r *requirement) metBy(claims *Claims) bool {
	switch value := claims.named[r.claim].(type) {
	case string:
		_, ok := r.anyOf[value]
		return ok
	case []any:
		for _, element := range value {
			if text, isText := element.(string); isText {
				if _, ok := r.anyOf[text]; ok {
					return true
				}
			}
		}
	}
	return false
}

// hasScope says whether a token was granted a scope. RFC 8693 and RFC 9068 put scopes into the claim scope, a string with spaces between them; others
// into scp, as a string or a list, and some make a list of scope as well. All of these are read, and no spelling grants what another
// would not.
func hasScope(claims map[string]any, scope string) bool {
	return listsScope(claims["scope"], scope) || listsScope(claims["scp"], scope)
}

func listsScope(claim any, scope string) bool {
	switch value := claim.(type) {
	case string:
		for rest, more := value, true; more; {
			var one string
			one, rest, more = strings.Cut(rest, " ")
			if one == scope {
				return true
			}
		}
	case []any:
		for _, element := range value {
			if element == any(scope) {
				return true
			}
		}
	}
	return false
}

// isScope says whether s can be a scope (RFC 6749 section 3.3). None of these characters needs a backslash in the header of a challenge.
func isScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= maxScope
}

// maxScope bounds the names of scopes, as the API does.
const maxScope = 128
