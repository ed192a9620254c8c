package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// ClaimDocument says what the tokens of one issuer must say to be taken, and under which names their claims are known afterwards: what an issuer
// of an AuthPolicy says about claims, in the words of an AuthPolicy. CompileClaims checks it.
type ClaimDocument struct {
	// Rules must all be met.
	Rules []ClaimRule
	// Mappings set claims for rules and identity headers.
	Mappings []ClaimMapping
}

// ClaimRule is something that a token must say: a claim with one value, or an expression over claims that is true.
type ClaimRule struct {
	// Claim is a claim's name, or a JSON Pointer: see claimAt. Its value must be the string RequiredValue.
	Claim         string `json:"claim,omitempty"`
	RequiredValue string `json:"requiredValue,omitempty"`
	// Expression is CEL over claims. It excludes Claim.
	Expression string `json:"expression,omitempty"`
	// Message is for those who run the policy, never for callers.
	Message string `json:"message,omitempty"`
}

// ClaimMapping sets the top-level claim Name from a claim, or from the value of an expression.
type ClaimMapping struct {
	Name string `json:"name"`
	// Claim is a claim's name, or a JSON Pointer: see claimAt.
	Claim string `json:"claim,omitempty"`
	// Expression is CEL over claims. It excludes Claim.
	Expression string `json:"expression,omitempty"`
}

// ClaimProgram is a compiled ClaimDocument. It never changes, and may be used by any number of goroutines.
type ClaimProgram struct {
	rules    []claimRule
	mappings []claimMapping
}

type claimRule struct {
	claim    claimAt
	required string
	program  cel.Program // nil: the claim is what counts
	message  string
}

type claimMapping struct {
	name    string
	claim   claimAt
	program cel.Program // nil: the claim is what counts
}

// registered are claims that verification has judged, or that say who called: a mapping must not put others in their place.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "cnf", "client_id"}

// CompileClaims checks a document and makes a program of it. Its error is Errors: everything that is wrong, each with its path below the issuer.
func CompileClaims(d ClaimDocument) (*ClaimProgram, error) {
	var errs Errors
	root := check{errors: &errs}
	var spent budget
	p := &ClaimProgram{}
	for i, r := range d.Rules {
		p.rules = append(p.rules, compileClaimRule(root.at("claimValidationRules[%d]", i), r, &spent))
	}
	seen := map[string]bool{}
	for i, m := range d.Mappings {
		c := root.at("claimMappings[%d]", i)
		switch {
		case m.Name == "" || m.Name[0] == '/' || len(m.Name) > maxClaimName:
			c.at("name").fail(`must be a top-level claim of 1 to 256 characters, not beginning with "/"`)
		case slices.Contains(registered, m.Name):
			c.at("name").fail("is a registered claim, which keeps the value that was verified; choose another")
		case seen[m.Name]:
			c.at("name").fail("is set twice")
		}
		seen[m.Name] = true
		p.mappings = append(p.mappings, compileClaimMapping(c, m, &spent))
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return p, nil
}

func compileClaimRule(c check, r ClaimRule, spent *budget) claimRule {
	compiled := claimRule{required: r.RequiredValue, message: c.path}
	if r.Message != "" {
		compiled.message += ": " + r.Message
	}
	switch {
	case (r.Claim == "") == (r.Expression == ""):
		c.fail("set exactly one of claim and expression")
	case r.Expression != "" && r.RequiredValue != "":
		c.at("requiredValue").fail("goes with claim only")
	case r.Expression != "":
		compiled.program = spent.condition(c.at("expression"), r.Expression, ofClaims)
	default:
		compiled.claim = checkedClaim(c.at("claim"), r.Claim)
	}
	return compiled
}

func compileClaimMapping(c check, m ClaimMapping, spent *budget) claimMapping {
	compiled := claimMapping{name: m.Name}
	switch {
	case (m.Claim == "") == (m.Expression == ""):
		c.fail("set exactly one of claim and expression")
	case m.Expression != "":
		compiled.program = spent.compile(c.at("expression"), m.Expression, ofClaims, refuseAsClaim)
	default:
		compiled.claim = checkedClaim(c.at("claim"), m.Claim)
	}
	return compiled
}

// checkedClaim compiles a claim's name, or returns nil when there is something against it.
func checkedClaim(c check, name string) claimAt {
	before := len(*c.errors)
	checkClaim(c, name)
	if len(*c.errors) > before {
		return nil
	}
	return compileClaim(name)
}

func refuseAsClaim(t *cel.Type) string {
	switch t.Kind() { //nolint:exhaustive // all others are refused
	case types.BoolKind, types.DoubleKind, types.DynKind, types.IntKind, types.ListKind, types.MapKind, types.StringKind, types.UintKind:
		return ""
	}
	return fmt.Sprintf("must be something that JSON has, but its type is %s", t)
}

// ClaimRefusal is why a token is not taken, though its signature and its registered claims are good.
type ClaimRefusal struct {
	Reason ClaimReason
	// Message is for those who run the policy: it says which rule, in its own words. Never show it to callers.
	Message string
}

// ClaimReason is the kind of a ClaimRefusal. Its values are stable.
type ClaimReason string

const (
	// ClaimRuleNotMet means that a rule is not met, or cannot be judged.
	ClaimRuleNotMet ClaimReason = "claim_rule"
	// ClaimNotMapped means that the expression of a mapping has no value here.
	ClaimNotMapped ClaimReason = "claim_mapping"
)

// Apply returns the claims as rules and identity headers know them, or why the token is not taken. It leaves what it gets as it is. Rules
// and mappings see the claims of the token, never those that mappings set. A mapping without a value takes the claim away, so that nothing the
// token says under that name is mistaken for it.
func (p *ClaimProgram) Apply(claims map[string]any) (map[string]any, *ClaimRefusal) {
	for i := range p.rules {
		if r := &p.rules[i]; !r.metBy(claims) {
			return nil, &ClaimRefusal{ClaimRuleNotMet, r.message}
		}
	}
	if len(p.mappings) == 0 {
		return claims, nil
	}
	mapped := maps.Clone(claims)
	for i := range p.mappings {
		m := &p.mappings[i]
		value, err := m.valueFrom(claims)
		switch {
		case err != nil:
			return nil, &ClaimRefusal{ClaimNotMapped, fmt.Sprintf("claimMappings[%d]: its expression has no value for this token", i)}
		case value == nil:
			delete(mapped, m.name)
		default:
			mapped[m.name] = value
		}
	}
	return mapped, nil
}

func (r *claimRule) metBy(claims map[string]any) bool {
	if r.program == nil {
		return r.claim.in(claims) == any(r.required)
	}
	value, _, err := r.program.Eval(&activation{claims: claims})
	return err == nil && value == types.True
}

func (m *claimMapping) valueFrom(claims map[string]any) (any, error) {
	if m.program == nil {
		return m.claim.in(claims), nil
	}
	value, _, err := m.program.Eval(&activation{claims: claims})
	if err != nil {
		return nil, err
	}
	return toClaim(value)
}

// toClaim returns a value in the form that claims of a token have.
func toClaim(value ref.Val) (any, error) {
	switch value := value.(type) {
	case types.Null:
		return nil, nil
	case types.String:
		return string(value), nil
	case types.Bool:
		return bool(value), nil
	case types.Int:
		return json.Number(strconv.FormatInt(int64(value), 10)), nil
	case types.Uint:
		return json.Number(strconv.FormatUint(uint64(value), 10)), nil
	case types.Double:
		if math.IsInf(float64(value), 0) || math.IsNaN(float64(value)) {
			return nil, fmt.Errorf("JSON has no number for %v", float64(value))
		}
		return json.Number(strconv.FormatFloat(float64(value), 'g', -1, 64)), nil
	case traits.Lister:
		list := []any{}
		for it := value.Iterator(); it.HasNext() == types.True; {
			element, err := toClaim(it.Next())
			if err != nil {
				return nil, err
			}
			list = append(list, element)
		}
		return list, nil
	case traits.Mapper:
		object := map[string]any{}
		for it := value.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			name, ok := key.(types.String)
			if !ok {
				return nil, fmt.Errorf("JSON has no member named by a %s", key.Type().TypeName())
			}
			member, err := toClaim(value.Get(key))
			if err != nil {
				return nil, err
			}
			object[string(name)] = member
		}
		return object, nil
	}
	return nil, fmt.Errorf("JSON has no %s", value.Type().TypeName())
}
