package policy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

func requiring(expression string) policy.Document {
	return policy.Document{Rules: []policy.Rule{{Expression: expression}}}
}

func TestExpressions(t *testing.T) {
	request := policy.Request{
		Method: "POST", Host: "shop.example", Path: "/tenants/acme/orders", Query: "page=1&page=2&q=caf%C3%A9",
		Header: map[string][]string{
			"Accept": {"a", "b"}, "X-Tenant": {"acme"}, "Authorization": {"Bearer x"}, "Cookie": {"a=b"}, "Proxy-Authorization": {"x"},
			"X-Forwarded-For": {"10.0.0.1"}, "X_forwarded_proto": {"https"}, "Forwarded": {"for=x"}, "X-Real-Ip": {"10.0.0.1"}, "Host": {"x"},
			"X-Auth-Subject": {"mallory"}, "X_auth_subject": {"mallory"}, "X-Original-Url": {"/"},
			"Connection": {"close, x-hop", "X_other"}, "X-Hop": {"a"}, "X-Other": {"a"}, "Te": {"trailers"},
		},
	}
	claims := map[string]any{
		"sub": "alice", "tenant": "acme", "level": json.Number("3"), "ratio": json.Number("0.5"), "huge": json.Number("1e400"), "verified": true, "none": nil,
		"groups": []any{"staff", "admins"}, "realm_access": map[string]any{"roles": []any{"admin"}}, "https://example.com/roles": []any{"editor"},
	}
	allowed := policy.ReasonAuthenticated
	for _, tc := range []struct {
		name, expression string
		want             policy.Reason
	}{
		{"reads the method", `request.method == "POST"`, allowed},
		{"reads the host", `request.host == "shop.example"`, allowed},
		{"reads the path", `request.path.startsWith("/tenants/" + claims.tenant + "/")`, allowed},
		{"reads the query as lists", `request.query == {"page": ["1", "2"], "q": ["café"]}`, allowed},
		{"reads headers by small letters, and neither credentials, nor what proxies say, nor what the app will not see",
			`request.headers == {"accept": ["a", "b"], "x-tenant": ["acme"]}`, allowed},
		{"compares a header with a claim", `request.headers["x-tenant"] == [claims.tenant]`, allowed},
		{"reads nested claims", `"admin" in claims.realm_access.roles`, allowed},
		{"reads claims whose names are URLs", `"editor" in claims["https://example.com/roles"]`, allowed},
		{"reads whole numbers", `claims.level == 3 && claims.level > 2 && claims.level == 3.0`, allowed},
		{"reads fractions", `claims.ratio < 1 && claims.ratio == 0.5`, allowed},
		{"reads booleans and null", `claims.verified && claims.none == null`, allowed},
		{"asks whether there is a claim", `has(claims.tenant) && !has(claims.missing)`, allowed},
		{"goes through lists", `claims.groups.exists(g, g.endsWith("mins")) && claims.groups.size() == 2`, allowed},
		{"is false", `claims.level > 3`, policy.ReasonExpressionFalse},
		{"knows 1 from \"1\"", `claims.level == "3"`, policy.ReasonExpressionFalse},
		{"has an error where a claim is missing", `claims.missing == "x"`, policy.ReasonExpressionError},
		{"has an error where a claim is of another type", `claims.sub > 3`, policy.ReasonExpressionError},
		{"has an error where a header is missing", `request.headers["x-missing"][0] == "x"`, policy.ReasonExpressionError},
		{"has an error where a number is beyond all numbers", `claims.huge > 1`, policy.ReasonExpressionError},
		{"has an error where it divides by zero", `1 / (claims.level - 3) == 1`, policy.ReasonExpressionError},
		{"takes what is true beside an error, which is how CEL defines ||", `claims.missing == "x" || true`, allowed},
		{"takes what is false beside an error, which is how CEL defines &&", `claims.missing == "x" && false`, policy.ReasonExpressionFalse},
		{"does not take an error beside what is false", `claims.missing == "x" || false`, policy.ReasonExpressionError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := decide(compile(t, requiring(tc.expression)), request, claims)
			want := policy.Decision{Allow: tc.want == allowed, Reason: tc.want, Rule: 0}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestExpressionsAreAskedLast(t *testing.T) {
	program := compile(t, policy.Document{Rules: []policy.Rule{{
		Claims: []policy.Requirement{{Claim: "/a/0", AnyOf: []string{"x"}}}, Scopes: []string{"s"}, Expression: "claims.missing == 1",
	}}})
	for _, tc := range []struct {
		claims map[string]any
		want   policy.Reason
	}{
		{nil, policy.ReasonTokenRequired},
		{map[string]any{}, policy.ReasonClaimsNotMet},
		{map[string]any{"a": []any{"x"}}, policy.ReasonInsufficientScope},
		{map[string]any{"a": []any{"x"}, "scope": "s"}, policy.ReasonExpressionError},
	} {
		if got := decide(program, policy.Request{Method: "GET", Path: "/"}, tc.claims).Reason; got != tc.want {
			t.Errorf("got %s for %v, want %s", got, tc.claims, tc.want)
		}
	}
}

// secret is a credential in a header and in the query.
type secret struct{}

func (secret) Remove(header http.Header, query string) string {
	header.Del("X-Token")
	return strings.TrimPrefix(query, "token=secret&")
}

func TestExpressionsSeeNoCredentials(t *testing.T) {
	program := compile(t, requiring(`request.headers == {"accept": ["a"]} && request.query == {"page": ["1"]}`))
	header := http.Header{"X-Token": {"secret"}, "Accept": {"a"}}
	request := policy.Request{Method: "GET", Path: "/", Query: "token=secret&page=1", Header: header, Credentials: secret{}}
	if got := decide(program, request, map[string]any{}); !got.Allow {
		t.Errorf("got %+v, want it allowed", got)
	}
	if got := header.Get("X-Token"); got != "secret" {
		t.Errorf("got %q left of the request's own header, want it as it was", got)
	}
}

func TestHeadersThatAppsReadInDifferentWaysHaveNoValue(t *testing.T) {
	program := compile(t, requiring(`request.headers["x-tenant"] == ["acme"]`))
	for name, tc := range map[string]struct {
		header http.Header
		want   policy.Reason
	}{
		"one spelling":                     {http.Header{"X-Tenant": {"acme"}}, policy.ReasonAuthenticated},
		"another spelling":                 {http.Header{"X_tenant": {"acme"}}, policy.ReasonAuthenticated},
		"two spellings":                    {http.Header{"X-Tenant": {"acme"}, "X_tenant": {"evil"}}, policy.ReasonExpressionError},
		"two values":                       {http.Header{"X-Tenant": {"acme", "evil"}}, policy.ReasonExpressionFalse},
		"taken from the app by its sender": {http.Header{"X-Tenant": {"acme"}, "Connection": {"keep-alive, X-Tenant"}}, policy.ReasonExpressionError},
	} {
		request := policy.Request{Method: "GET", Path: "/", Header: tc.header}
		if got := decide(program, request, map[string]any{}).Reason; got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

func TestQueryThatParsersReadInDifferentWaysHasNoValue(t *testing.T) {
	program := compile(t, requiring(`!("admin" in request.query)`))
	for query, want := range map[string]policy.Reason{
		"":             policy.ReasonAuthenticated,
		"a=b":          policy.ReasonAuthenticated,
		"admin":        policy.ReasonExpressionFalse,
		"a=b;admin=1":  policy.ReasonExpressionError,
		"%zz=1":        policy.ReasonExpressionError,
		"a=%&admin=%1": policy.ReasonExpressionError,
	} {
		if got := decide(program, policy.Request{Method: "GET", Path: "/", Query: query}, map[string]any{}).Reason; got != want {
			t.Errorf("got %s for %q, want %s", got, query, want)
		}
	}
}

func TestCostsOfAnExpressionAreBounded(t *testing.T) {
	program := compile(t, requiring(`claims.groups.exists(g, claims.sub + g == "x")`))
	few, many := make([]any, 256), make([]any, 20_000)
	for i := range many {
		many[i] = "group"
	}
	copy(few, many)
	for name, tc := range map[string]struct {
		groups []any
		want   policy.Reason
	}{"few": {few, policy.ReasonExpressionFalse}, "many": {many, policy.ReasonExpressionError}} {
		got := decide(program, policy.Request{Method: "GET", Path: "/"}, map[string]any{"sub": "alice", "groups": tc.groups}).Reason
		if got != tc.want {
			t.Errorf("got %s for %s groups, want %s", got, name, tc.want)
		}
	}
}

func TestCompileRefusesExpressions(t *testing.T) {
	deep := strings.Repeat("(", 60) + "true" + strings.Repeat(")", 60)
	for _, tc := range []struct{ name, expression, want string }{
		{"a variable that there is not", `claims.a == claim.a`, "1:13: undeclared reference to 'claim' (did you mean 'claims'?)"},
		{"a variable of the request that there is not", `request.metod == "GET"`, "1:8: undeclared reference to 'request.metod' (did you mean 'request.method'?)"},
		{"a comparison of what never is equal", "true &&\n request.method == 1", "2:17: found no matching overload for '_==_' applied to '(string, int)'"},
		{"a character beyond ASCII at its own column", `"é" == claim`, "1:8: undeclared reference to 'claim' (did you mean 'claims'?)"},
		{"what is neither true nor false", `claims.email`, "must be true or false, as in claims.level == 2, but its type is dyn"},
		{"a regular expression", `request.path.matches("^/(a+)+$")`, "1:21: undeclared reference to 'matches'"},
		{"a time", `timestamp(claims.t) > timestamp("2026-01-01T00:00:00Z")`,
			"1:10: undeclared reference to 'timestamp'; rules[0].expression: 1:32: undeclared reference to 'timestamp'"},
		{"loops in loops over claims", `claims.a.exists(a, claims.b.exists(b, a == b))`,
			"may cost 2098947, more than 20000, for claims with 256 elements of 256 characters: do not nest loops over them"},
		{"an expression that is too long", strings.Repeat(" ", 2045) + "true", "must be 2048 characters long at most"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := policy.Compile(requiring(tc.expression))
			if want := "rules[0].expression: " + tc.want; err == nil || err.Error() != want {
				t.Errorf("got error %v, want %s", err, want)
			}
		})
	}
	if _, err := policy.Compile(requiring(deep)); err == nil {
		t.Error("got no error for an expression that is nested 60 deep")
	}
	if _, err := policy.Compile(requiring(`1 +`)); err == nil || !strings.Contains(err.Error(), "rules[0].expression: 1:4: Syntax error") {
		t.Errorf("got error %v for half an expression, want one that says where it ends", err)
	}
}

func TestExpressionsOfADocumentAreBoundedTogether(t *testing.T) {
	costly := `["1","2","3","4"].exists(x, claims.groups.exists(g, g.startsWith(x)) && claims.others.exists(g, g.startsWith(x)))`
	var d policy.Document
	for range 100 {
		d.Rules = append(d.Rules, policy.Rule{Expression: costly})
	}
	_, err := policy.Compile(d)
	if err == nil || strings.Count(err.Error(), "all expressions together") != 1 {
		t.Errorf("got error %v, want one that tells once of too much cost", err)
	}

	d = policy.Document{}
	for range 260 {
		d.Rules = append(d.Rules, policy.Rule{Expression: "true"})
	}
	_, err = policy.Compile(d)
	if want := "rules[256].expression: is one too many: there may be 256 expressions"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

// What claims rules see of a token, and what mappings make of it.
func TestClaimPrograms(t *testing.T) {
	claims := map[string]any{
		"iss": "https://idp", "tenant": "acme", "groups": "forged", "n": json.Number("2"), "email_verified": true, "null": nil,
		"realm_access": map[string]any{"roles": []any{"admin", "a/b~c"}}, "a/b": map[string]any{"~": "tilde"},
	}
	type result struct {
		Claims  map[string]any
		Refusal *policy.ClaimRefusal
	}
	with := func(changes map[string]any) result {
		changed := map[string]any{}
		for name, value := range claims {
			changed[name] = value
		}
		for name, value := range changes {
			if value == nil {
				delete(changed, name)
			} else {
				changed[name] = value
			}
		}
		return result{Claims: changed}
	}
	refused := func(reason policy.ClaimReason, message string) result {
		return result{Refusal: &policy.ClaimRefusal{Reason: reason, Message: message}}
	}
	rule := func(r policy.ClaimRule) policy.ClaimDocument {
		return policy.ClaimDocument{Rules: []policy.ClaimRule{r}}
	}
	mapping := func(m policy.ClaimMapping) policy.ClaimDocument {
		return policy.ClaimDocument{Mappings: []policy.ClaimMapping{m}}
	}
	for _, tc := range []struct {
		name     string
		document policy.ClaimDocument
		want     result
	}{
		{"asks for nothing", policy.ClaimDocument{}, with(nil)},
		{"takes a claim of the required value", rule(policy.ClaimRule{Claim: "tenant", RequiredValue: "acme"}), with(nil)},
		{"refuses another value", rule(policy.ClaimRule{Claim: "tenant", RequiredValue: "Acme", Message: "wrong tenant"}),
			refused("claim_rule", "claimValidationRules[0]: wrong tenant")},
		{"refuses a list that has the value", rule(policy.ClaimRule{Claim: "/realm_access/roles", RequiredValue: "admin"}), refused("claim_rule", "claimValidationRules[0]")},
		{"takes an element of a list", rule(policy.ClaimRule{Claim: "/realm_access/roles/0", RequiredValue: "admin"}), with(nil)},
		{"refuses what is not there", rule(policy.ClaimRule{Claim: "/realm_access/roles/2", RequiredValue: "admin"}), refused("claim_rule", "claimValidationRules[0]")},
		{"takes what an expression takes", rule(policy.ClaimRule{Expression: "claims.email_verified == true"}), with(nil)},
		{"refuses what an expression refuses", rule(policy.ClaimRule{Expression: "claims.n > 2"}), refused("claim_rule", "claimValidationRules[0]")},
		{"refuses what an expression has an error for", rule(policy.ClaimRule{Expression: "claims.m > 2"}), refused("claim_rule", "claimValidationRules[0]")},
		{"judges by the token's claims, not by what they are mapped to", policy.ClaimDocument{
			Rules:    []policy.ClaimRule{{Claim: "groups", RequiredValue: "forged"}},
			Mappings: []policy.ClaimMapping{{Name: "groups", Claim: "tenant"}},
		}, with(map[string]any{"groups": "acme"})},
		{"maps a nested claim in place of the token's own", mapping(policy.ClaimMapping{Name: "groups", Claim: "/realm_access/roles"}),
			with(map[string]any{"groups": []any{"admin", "a/b~c"}})},
		{"maps by escaped names", mapping(policy.ClaimMapping{Name: "x", Claim: "/a~1b/~0"}), with(map[string]any{"x": "tilde"})},
		{"takes a claim away that has no value", mapping(policy.ClaimMapping{Name: "groups", Claim: "/realm_access/missing"}), with(map[string]any{"groups": nil})},
		{"takes a claim away whose expression says null", mapping(policy.ClaimMapping{Name: "groups", Expression: "has(claims.g) ? claims.g : null"}),
			with(map[string]any{"groups": nil})},
		{"refuses a token for which an expression has an error", mapping(policy.ClaimMapping{Name: "groups", Expression: "claims.missing"}),
			refused("claim_mapping", "claimMappings[0]: its expression has no value for this token")},
		{"refuses a token for which an expression has no JSON", mapping(policy.ClaimMapping{Name: "x", Expression: "1.0 / double(claims.n - 2)"}),
			refused("claim_mapping", "claimMappings[0]: its expression has no value for this token")},
		{"shows mappings the token's claims, not each other's", policy.ClaimDocument{Mappings: []policy.ClaimMapping{
			{Name: "tenant", Claim: "groups"}, {Name: "groups", Claim: "tenant"},
		}}, with(map[string]any{"tenant": "forged", "groups": "acme"})},
		{"makes of a value what JSON would", mapping(policy.ClaimMapping{Name: "x", Expression: `{"s": "a", "i": -1, "u": 2u, "d": 0.5, "b": true, "l": [1, [claims.n]], "z": null}`}),
			with(map[string]any{"x": map[string]any{
				"s": "a", "i": json.Number("-1"), "u": json.Number("2"), "d": json.Number("0.5"), "b": true, "l": []any{json.Number("1"), []any{json.Number("2")}}, "z": nil,
			}})},
		{"refuses a key that JSON has not", mapping(policy.ClaimMapping{Name: "x", Expression: `{1: 2}`}), refused("claim_mapping", "claimMappings[0]: its expression has no value for this token")},
		{"refuses a value in a list that JSON has not", mapping(policy.ClaimMapping{Name: "x", Expression: `[1.0 / 0.0]`}),
			refused("claim_mapping", "claimMappings[0]: its expression has no value for this token")},
		{"refuses a value in a map that JSON has not", mapping(policy.ClaimMapping{Name: "x", Expression: `{"a": dyn(b"x")}`}),
			refused("claim_mapping", "claimMappings[0]: its expression has no value for this token")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			program, err := policy.CompileClaims(tc.document)
			if err != nil {
				t.Fatalf("compile: %v", err)
			}
			before := fmt.Sprint(claims)
			mapped, refusal := program.Apply(claims)
			if diff := cmp.Diff(result{mapped, refusal}, tc.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
			if after := fmt.Sprint(claims); after != before {
				t.Errorf("got the token's claims changed to %s, want %s", after, before)
			}
		})
	}
}

func TestCompileClaimsRefuses(t *testing.T) {
	_, err := policy.CompileClaims(policy.ClaimDocument{
		Rules: []policy.ClaimRule{
			{}, {Claim: "a", Expression: "true"}, {Expression: "true", RequiredValue: "a"}, {Expression: "request.path == ''"}, {Claim: "/~"}, {Expression: "claims.a"},
		},
		Mappings: []policy.ClaimMapping{
			{Name: "sub", Claim: "a"}, {Name: "client_id", Claim: "a"}, {Name: "", Claim: "a"}, {Name: "/a", Claim: "a"}, {Name: "x"}, {Name: "x", Claim: "a"},
			{Name: "y", Claim: "a", Expression: "true"}, {Name: "z", Claim: "/~"}, {Name: "v", Expression: "b'x'"}, {Name: "w", Expression: "claim"},
			{Name: "u", Expression: strings.Repeat(" ", 9000)},
		},
	})
	want := []string{
		"claimValidationRules[0]: set exactly one of claim and expression",
		"claimValidationRules[1]: set exactly one of claim and expression",
		"claimValidationRules[2].requiredValue: goes with claim only",
		"claimValidationRules[3].expression: 1:1: undeclared reference to 'request'",
		`claimValidationRules[4].claim: begins with "/", so it is a JSON Pointer, and in these "~" is written ~0 and a "/" inside a name ~1`,
		"claimValidationRules[5].expression: must be true or false, as in claims.level == 2, but its type is dyn",
		"claimMappings[0].name: is a registered claim, which keeps the value that was verified; choose another",
		"claimMappings[1].name: is a registered claim, which keeps the value that was verified; choose another",
		`claimMappings[2].name: must be a top-level claim of 1 to 256 characters, not beginning with "/"`,
		`claimMappings[3].name: must be a top-level claim of 1 to 256 characters, not beginning with "/"`,
		"claimMappings[4]: set exactly one of claim and expression",
		"claimMappings[5].name: is set twice",
		"claimMappings[6]: set exactly one of claim and expression",
		`claimMappings[7].claim: begins with "/", so it is a JSON Pointer, and in these "~" is written ~0 and a "/" inside a name ~1`,
		"claimMappings[8].expression: must be something that JSON has, but its type is bytes",
		"claimMappings[9].expression: 1:1: undeclared reference to 'claim' (did you mean 'claims'?)",
		"claimMappings[10].expression: must be 2048 characters long at most",
	}
	if err == nil {
		t.Fatal("got no error")
	}
	if diff := cmp.Diff(err.Error(), strings.Join(want, "; ")); diff != "" {
		t.Errorf("got errors (-), want (+):\n%s", diff)
	}
}

func BenchmarkExpression(b *testing.B) {
	many := make([]any, 15_000)
	for i := range many {
		many[i] = "group"
	}
	for name, tc := range map[string]struct {
		expression string
		claims     map[string]any
	}{
		"claim":         {`claims.sub == "alice"`, map[string]any{"sub": "alice"}},
		"path_of_owner": {`request.path.startsWith("/users/" + claims.sub + "/")`, map[string]any{"sub": "alice"}},
		"list":          {`claims.groups.exists(g, g == "admins")`, map[string]any{"groups": []any{"a", "b", "c", "admins"}}},
		"query":         {`!("debug" in request.query)`, map[string]any{}},
		"too_costly":    {`claims.groups.all(g, g + g != "admins")`, map[string]any{"groups": many}},
	} {
		b.Run(name, func(b *testing.B) {
			program := compile(b, requiring(tc.expression))
			request := policy.Request{Method: "GET", Path: "/users/alice/orders", Query: "page=1"}
			claims := program.Read(tc.claims)
			b.ReportAllocs()
			for b.Loop() {
				_ = program.Decide(request, claims)
			}
		})
	}
}
