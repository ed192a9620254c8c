package policy_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

// A program keeps of a token what its expressions can see. Here they look at claims in every way there is, each true of these claims and of no others.
func TestExpressionsSeeAllThatTheyAskFor(t *testing.T) {
	claims := func() map[string]any {
		return map[string]any{
			"sub": "alice", "level": json.Number("3"), "admin": true, "none": nil, "groups": []any{"a", "alice", []any{json.Number("7")}},
			"realm_access": map[string]any{"roles": []any{"editor"}, "claims": "x"}, "https://example.com/roles": []any{"r"},
		}
	}
	for expression, away := range map[string]string{
		`claims.sub == "alice"`:                         "sub",
		`claims.level == 3 && claims.admin`:             "admin",
		`claims["sub"] == "alice"`:                      "sub",
		`claims["https://example.com/roles"][0] == "r"`: "https://example.com/roles",
		`has(claims.sub)`:                               "sub",
		`has(claims.realm_access.roles)`:                "realm_access",
		`claims.realm_access.claims == "x"`:             "realm_access",
		`"sub" in claims`:                               "sub",
		`"none" in claims && claims.none == null`:       "none",
		`size(claims) == 7`:                             "sub",
		`claims.size() == 7`:                            "sub",
		`claims.exists(name, name == "level")`:          "level",
		`claims.all(name, claims[name] != "mallory") && claims["s" + "ub"] == "alice"`:                   "sub",
		`claims.groups.exists(claims, claims == "alice")`:                                                "groups",
		`claims.groups.exists(g, g == claims.sub)`:                                                       "sub",
		`claims.groups[2][0] == 7`:                                                                       "groups",
		`[claims][0].sub == "alice"`:                                                                     "sub",
		`(has(claims.sub) ? claims : {}).sub == "alice"`:                                                 "sub",
		`{"c": claims}.c.sub == "alice"`:                                                                 "sub",
		`.claims.sub == "alice"`:                                                                         "sub",
		`has(.claims.sub) && "sub" in .claims && .claims["sub"] == "alice"`:                              "sub",
		`[{"sub": "bob"}].all(claims, .claims.sub == "alice" || claims.sub == "bob") && has(claims.sub)`: "sub",
		`claims != {} && dyn(claims).sub == "alice"`:                                                     "sub",
	} {
		// A rule beside it sees something else.
		program := compile(t, policy.Document{Rules: []policy.Rule{
			{Paths: []policy.Path{{Exact: "/other"}}, Expression: `claims.other == "x"`}, {Expression: expression},
		}})
		request := policy.Request{Method: "GET", Path: "/"}
		if got := decide(program, request, claims()); !got.Allow {
			t.Errorf("%s: got %+v, want it allowed", expression, got)
		}
		without := claims()
		delete(without, away)
		if got := decide(program, request, without); got.Allow {
			t.Errorf("%s: got %+v without %s, want it refused", expression, got, away)
		}
	}
}

func TestClaimsThatNobodyAsksForTakeNoMemory(t *testing.T) {
	long := map[string]any{"sub": "alice", "groups": []any{"staff"}}
	for i := range 1000 {
		long[fmt.Sprint("claim", i)] = "some text that nobody reads"
	}
	for _, expression := range []string{"", `claims.sub == "alice"`} {
		program := compile(t, policy.Document{Rules: []policy.Rule{
			{Claims: []policy.Requirement{{Claim: "groups", AnyOf: []string{"staff"}}}, Expression: expression},
		}})
		if got := program.Read(long).Size(); got > 500 {
			t.Errorf("got %d bytes for expression %q, want few", got, expression)
		}
	}
}

// Answers are numbered by the program that asked.
func TestClaimsReadByAnotherProgramCountForNothing(t *testing.T) {
	requires := func(role string) *policy.Program {
		return compile(t, policy.Document{Rules: []policy.Rule{{Claims: []policy.Requirement{{Claim: "role", AnyOf: []string{role}}}}}})
	}
	reader, admin := requires("reader"), requires("admin")
	claims := reader.Read(map[string]any{"role": "reader"})
	if got := admin.Decide(policy.Request{Method: "GET", Path: "/"}, claims); got.Allow {
		t.Errorf("got %+v, want it refused", got)
	}
	if got := reader.Decide(policy.Request{Method: "GET", Path: "/"}, claims); !got.Allow {
		t.Errorf("got %+v, want it allowed", got)
	}
}

// BenchmarkRead is what a token that is new costs a policy: not more with 500 rules than with one.
func BenchmarkRead(b *testing.B) {
	for _, rules := range []int{1, 20, 500} {
		program := compile(b, wide(rules))
		b.Run(fmt.Sprintf("for_%d_rules", rules), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if program.Read(editor) == nil {
					b.Fatal("got no claims")
				}
			}
		})
	}
}
