package policy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

// TestTheFirstMatchOfTheStrictestReadingWins compares the index with what it stands for: trying the rules one by one, for each way to fold.
func TestTheFirstMatchOfTheStrictestReadingWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		document := genDocument().Draw(t, "document")
		program, err := policy.Compile(document)
		if err != nil {
			t.Fatalf("compile: %v", err)
		}
		for range 20 {
			request, claims := genRequest().Draw(t, "request"), genClaims().Draw(t, "claims")
			got, want := decide(program, request, claims), decideFoldByFold(document, request, claims)
			if got != want {
				t.Fatalf("got %+v for %+v, want %+v", got, request, want)
			}
		}
	})
}

// decideFoldByFold folds path and rules in each way that an app may, and lets the strictest judgement speak.
func decideFoldByFold(d policy.Document, request policy.Request, claims map[string]any) policy.Decision {
	if request.Host == "" && slices.ContainsFunc(d.Rules, func(r policy.Rule) bool { return len(r.Hosts) > 0 }) {
		return policy.Decision{Reason: policy.ReasonHostMissing, Rule: policy.NoRule}
	}
	asIs := func(path string) string { return path }
	slashless := func(path string) string {
		if path == "/" {
			return path
		}
		return strings.TrimSuffix(path, "/")
	}
	both := func(path string) string { return slashless(strings.ToLower(path)) }

	decided := decideOneByOne(d, request.Path, request, claims)
	for _, fold := range []func(string) string{asIs, slashless, strings.ToLower, both} {
		folded := policy.Document{Default: d.Default}
		for _, rule := range d.Rules {
			rule.Paths = slices.Clone(rule.Paths)
			for i, p := range rule.Paths {
				rule.Paths[i] = policy.Path{Exact: fold(p.Exact), Prefix: fold(p.Prefix), Pattern: fold(p.Pattern)}
			}
			folded.Rules = append(folded.Rules, rule)
		}
		if next := decideOneByOne(folded, fold(request.Path), request, claims); severity(next) > severity(decided) {
			decided = next
		}
	}
	return decided
}

func severity(d policy.Decision) int {
	switch {
	case d.Allow:
		return 0
	case d.Reason == policy.ReasonDenied || d.Reason == policy.ReasonNoRule:
		return 2
	}
	return 1
}

// decideOneByOne judges a path, and the rest of a request as it is.
func decideOneByOne(d policy.Document, path string, request policy.Request, claims map[string]any) policy.Decision {
	deciding, index := policy.Rule{Access: d.Default}, policy.NoRule
	for i, rule := range d.Rules {
		if ruleMatches(rule, path, request) {
			deciding, index = rule, i
			break
		}
	}
	refuse := func(reason policy.Reason) policy.Decision { return policy.Decision{Reason: reason, Rule: index} }
	switch {
	case deciding.Access == policy.AccessAnonymous:
		return policy.Decision{Allow: true, Reason: policy.ReasonAnonymous, Rule: index}
	case deciding.Access == policy.AccessDeny && index == policy.NoRule:
		return refuse(policy.ReasonNoRule)
	case deciding.Access == policy.AccessDeny:
		return refuse(policy.ReasonDenied)
	case claims == nil:
		return refuse(policy.ReasonTokenRequired)
	}
	for _, requirement := range deciding.Claims {
		values, isList := claims[requirement.Claim].([]any)
		if !isList {
			values = []any{claims[requirement.Claim]}
		}
		if !slices.ContainsFunc(requirement.AnyOf, func(wanted string) bool { return slices.Contains(values, any(wanted)) }) {
			return refuse(policy.ReasonClaimsNotMet)
		}
	}
	granted, _ := claims["scope"].(string)
	for _, scope := range deciding.Scopes {
		if !slices.Contains(strings.Split(granted, " "), scope) {
			return refuse(policy.ReasonInsufficientScope)
		}
	}
	if deciding.Expression != "" {
		switch holds, known := expressions[deciding.Expression](request, claims); {
		case !known:
			return refuse(policy.ReasonExpressionError)
		case !holds:
			return refuse(policy.ReasonExpressionFalse)
		}
	}
	return policy.Decision{Allow: true, Reason: policy.ReasonAuthenticated, Rule: index}
}

func ruleMatches(rule policy.Rule, path string, request policy.Request) bool {
	hostFits := len(rule.Hosts) == 0 || slices.ContainsFunc(rule.Hosts, func(host string) bool { return hostMatches(host, request.Host) })
	pathFits := len(rule.Paths) == 0 || slices.ContainsFunc(rule.Paths, func(p policy.Path) bool { return pathMatches(p, path) })
	return hostFits && pathFits && (len(rule.Methods) == 0 || slices.Contains(rule.Methods, request.Method))
}

func hostMatches(host, asked string) bool {
	if suffix, below := strings.CutPrefix(host, "*"); below {
		return strings.HasSuffix(asked, suffix) && asked != suffix
	}
	return host == asked
}

func pathMatches(p policy.Path, path string) bool {
	switch {
	case p.Pattern != "":
		base, below := strings.CutSuffix(p.Pattern, "/**")
		text := strings.ReplaceAll(regexp.QuoteMeta(base), `\*`, "[^/]+")
		if below {
			text += "(/.*)?"
		}
		return regexp.MustCompile("^" + text + "$").MatchString(path)
	case p.Exact != "":
		return path == p.Exact
	}
	return p.Prefix == "/" || path == p.Prefix || strings.HasPrefix(path, p.Prefix+"/")
}

// expressions say the same in CEL and in Go: whether it holds, and whether that is known.
var expressions = map[string]func(policy.Request, map[string]any) (holds, known bool){
	`claims.role == "a"`: func(_ policy.Request, claims map[string]any) (bool, bool) {
		role, there := claims["role"]
		return role == any("a"), there
	},
	`request.method == "GET" || request.host.endsWith(".shop.example")`: func(r policy.Request, _ map[string]any) (bool, bool) {
		return r.Method == "GET" || strings.HasSuffix(r.Host, ".shop.example"), true
	},
	`request.path.startsWith("/a")`: func(r policy.Request, _ map[string]any) (bool, bool) {
		return strings.HasPrefix(r.Path, "/a"), true
	},
}

func genDocument() *rapid.Generator[policy.Document] {
	return rapid.Custom(func(t *rapid.T) policy.Document {
		return policy.Document{
			Rules:   rapid.SliceOfN(genRule(), 0, 12).Draw(t, "rules"),
			Default: rapid.SampledFrom([]policy.Access{policy.AccessDeny, policy.AccessAuthenticated}).Draw(t, "default"),
		}
	})
}

func genRequest() *rapid.Generator[policy.Request] {
	return rapid.Custom(func(t *rapid.T) policy.Request {
		return policy.Request{
			Method: genMethod().Draw(t, "method"),
			Host:   rapid.SampledFrom([]string{"", "shop.example", "a.shop.example", "b.a.shop.example", "example", "[::1]"}).Draw(t, "host"),
			Path:   genPath().Draw(t, "path"),
		}
	})
}

func genClaims() *rapid.Generator[map[string]any] {
	return rapid.SampledFrom([]map[string]any{nil, {}, {"role": "a"}, {"role": []any{"b", "c"}, "scope": "s"}, {"role": "a", "scope": "t s"}})
}

// genPath draws from few segments, so that rules and requests meet, and puts in the slash at the end that makes another path.
func genPath() *rapid.Generator[string] { return genPathOf("a", "b", "ab", "A", "aB", "*") }

func genPathOf(segments ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		path := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(segments), 0, 4).Draw(t, "segments"), "/")
		if path != "/" && rapid.Bool().Draw(t, "slash at the end") {
			path += "/"
		}
		return path
	})
}

func genMethod() *rapid.Generator[string] { return rapid.SampledFrom([]string{"GET", "HEAD", "POST"}) }

func genRule() *rapid.Generator[policy.Rule] {
	genPathMatch := rapid.Custom(func(t *rapid.T) policy.Path {
		switch path := genPath().Draw(t, "path"); rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return policy.Path{Exact: path}
		case 1:
			return policy.Path{Prefix: "/" + strings.Trim(path, "/")}
		}
		pattern := genPathOf("a", "b", "A", "*", "*").Draw(t, "pattern")
		if !strings.Contains(pattern, "*") || rapid.Bool().Draw(t, "all below") {
			pattern = strings.TrimSuffix(pattern, "/") + "/**"
		}
		return policy.Path{Pattern: pattern}
	})
	genHost := rapid.SampledFrom([]string{"shop.example", "*.shop.example", "a.shop.example", "*.a.shop.example", "*.example"})
	texts := make([]string, 0, len(expressions))
	for text := range expressions {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return rapid.Custom(func(t *rapid.T) policy.Rule {
		rule := policy.Rule{
			Paths:   rapid.SliceOfN(genPathMatch, 0, 3).Draw(t, "paths"),
			Methods: rapid.SliceOfN(genMethod(), 0, 2).Draw(t, "methods"),
			Access:  rapid.SampledFrom([]policy.Access{policy.AccessAnonymous, policy.AccessAuthenticated, policy.AccessDeny}).Draw(t, "access"),
		}
		if rapid.IntRange(0, 3).Draw(t, "with hosts") == 0 {
			rule.Hosts = rapid.SliceOfN(genHost, 1, 3).Draw(t, "hosts")
		}
		if rule.Access != policy.AccessAuthenticated {
			return rule
		}
		if rapid.Bool().Draw(t, "with claims") {
			anyOf := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 1, 2).Draw(t, "any of")
			rule.Claims = []policy.Requirement{{Claim: "role", AnyOf: anyOf}}
		}
		rule.Scopes = rapid.SliceOfN(rapid.SampledFrom([]string{"s", "t"}), 0, 2).Draw(t, "scopes")
		if rapid.IntRange(0, 3).Draw(t, "with an expression") == 0 {
			rule.Expression = rapid.SampledFrom(texts).Draw(t, "expression")
		}
		return rule
	})
}
