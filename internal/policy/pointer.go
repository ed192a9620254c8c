package policy

import "strings"

// claimAt is where a claim is among the claims of a token, found without an allocation. A name that begins with "/" is a JSON Pointer (RFC
// 6901): /realm_access/roles. Any other name is that of a top-level claim, whatever characters it has: https://example.com/roles and
// a.b just work.
type claimAt []step

// step is one reference token of a pointer. Only what it is applied to tells whether it is the name of a member or an index.
type step struct {
	name  string
	index int // -1 when it cannot be an index
}

// maxClaimName bounds names of claims, as the API does: 256 characters, of 4 bytes at most.
const maxClaimName = 4 * 256

func checkClaim(c check, name string) {
	switch {
	case name == "":
		c.fail("must name a claim")
	case len(name) > maxClaimName:
		c.fail("must be 256 characters long at most")
	case name[0] == '/' && badEscape(name):
		c.fail(`begins with "/", so it is a JSON Pointer, and in these "~" is written ~0 and a "/" inside a name ~1`)
	}
}

func badEscape(pointer string) bool {
	for {
		_, after, found := strings.Cut(pointer, "~")
		if !found {
			return false
		}
		if after == "" || after[0] != '0' && after[0] != '1' {
			return true
		}
		pointer = after
	}
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// compileClaim wants a name that checkClaim has nothing against.
func compileClaim(name string) claimAt {
	if name[0] != '/' {
		return claimAt{{name: name, index: -1}}
	}
	var steps claimAt
	for token := range strings.SplitSeq(name[1:], "/") {
		token = unescape.Replace(token)
		steps = append(steps, step{name: token, index: arrayIndex(token)})
	}
	return steps
}

// arrayIndex reads digits without a leading zero (RFC 6901 section 4).
func arrayIndex(token string) int {
	const most = 9 // digits: no token has as many elements
	if token == "" || len(token) > most || token[0] == '0' && token != "0" {
		return -1
	}
	index := 0
	for i := range len(token) {
		if token[i] < '0' || token[i] > '9' {
			return -1
		}
		index = index*10 + int(token[i]-'0')
	}
	return index
}

// in returns the claim, nil where there is none.
func (at claimAt) in(claims map[string]any) any {
	value := claims[at[0].name]
	for _, next := range at[1:] {
		switch in := value.(type) {
		case map[string]any:
			value = in[next.name]
		case []any:
			if next.index < 0 || next.index >= len(in) {
				return nil
			}
			value = in[next.index]
		default:
			return nil
		}
	}
	return value
}
