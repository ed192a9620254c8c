package policy

// requirement is a compiled Requirement.
type requirement struct {
	claim string
	anyOf map[string]struct{}
}

// metBy wants a string among anyOf, or a list that holds one. Numbers, booleans and objects never meet a requirement: "1" and 1 are
// different claims, and an issuer that mixes them up should not be guessed at.
func (r *requirement) metBy(claims map[string]any) bool {
	switch value := claims[r.claim].(type) {
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
