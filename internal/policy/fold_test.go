package policy_test

import (
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

func TestAppsThatIgnoreCaseOrASlashDoNotServeWhatARuleGuards(t *testing.T) {
	allow := func(rule int) policy.Decision {
		return policy.Decision{Allow: true, Reason: policy.ReasonAuthenticated, Rule: rule}
	}
	refuse := func(reason policy.Reason, rule int) policy.Decision {
		return policy.Decision{Reason: reason, Rule: rule}
	}
	exact := func(path string, access policy.Access) policy.Rule {
		return policy.Rule{Paths: []policy.Path{{Exact: path}}, Access: access}
	}
	prefix := func(path string, access policy.Access) policy.Rule {
		return policy.Rule{Paths: []policy.Path{{Prefix: path}}, Access: access}
	}
	admins := prefix("/admin", policy.AccessAuthenticated)
	admins.Claims = []policy.Requirement{{Claim: "roles", AnyOf: []string{"admin"}}}
	user, nobody := map[string]any{"roles": "viewer"}, map[string]any(nil)

	for _, tc := range []struct {
		name   string
		rules  []policy.Rule
		path   string
		claims map[string]any
		want   policy.Decision
	}{
		{"asks for the claims in another case", []policy.Rule{admins}, "/Admin", user, refuse(policy.ReasonClaimsNotMet, 0)},
		{"asks for the claims below a path in another case", []policy.Rule{admins}, "/aDMIN/Users/", user, refuse(policy.ReasonClaimsNotMet, 0)},
		{"denies in another case", []policy.Rule{exact("/x", policy.AccessDeny)}, "/X", user, refuse(policy.ReasonDenied, 0)},
		{"denies with a slash", []policy.Rule{exact("/x", policy.AccessDeny)}, "/x/", user, refuse(policy.ReasonDenied, 0)},
		{"denies with both", []policy.Rule{exact("/x", policy.AccessDeny)}, "/X/", user, refuse(policy.ReasonDenied, 0)},
		{"denies without the slash of the rule", []policy.Rule{exact("/x/", policy.AccessDeny)}, "/x", user, refuse(policy.ReasonDenied, 0)},
		{"denies in small letters what the rule has in capital ones", []policy.Rule{prefix("/Admin", policy.AccessDeny)}, "/admin/a", user,
			refuse(policy.ReasonDenied, 0)},
		{"denies what nobody could be allowed, rather than ask for a token", []policy.Rule{exact("/x", policy.AccessDeny)}, "/X", nobody,
			refuse(policy.ReasonDenied, 0)},
		{"denies in another case to apps that mind the slash",
			[]policy.Rule{exact("/admin", policy.AccessAuthenticated), prefix("/admin", policy.AccessDeny)}, "/Admin/", user, refuse(policy.ReasonDenied, 1)},
		{"denies with a slash to apps that mind the case",
			[]policy.Rule{exact("/a", policy.AccessAuthenticated), exact("/A", policy.AccessDeny)}, "/A/", user, refuse(policy.ReasonDenied, 1)},
		{"opens nothing in another case", []policy.Rule{exact("/x", policy.AccessAnonymous)}, "/X", nobody, refuse(policy.ReasonTokenRequired, policy.NoRule)},
		{"opens nothing with a slash", []policy.Rule{exact("/x", policy.AccessAnonymous)}, "/x/", nobody, refuse(policy.ReasonTokenRequired, policy.NoRule)},
		{"reports the rule of the path as it is when all allow", []policy.Rule{exact("/x", policy.AccessAuthenticated)}, "/X/", user, allow(policy.NoRule)},
		{"leaves the root alone", []policy.Rule{exact("/", policy.AccessDeny)}, "/a", user, allow(policy.NoRule)},
		{"takes no other slash away", []policy.Rule{exact("/ab", policy.AccessDeny)}, "/a/b", user, allow(policy.NoRule)},
		{"does not fold letters beyond ASCII", []policy.Rule{exact("/é", policy.AccessDeny)}, "/É", user, allow(policy.NoRule)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			program := compile(t, policy.Document{Rules: tc.rules, Default: policy.AccessAuthenticated})
			if got := decide(program, policy.Request{Method: "GET", Path: tc.path}, tc.claims); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestTheLongestPathThatARuleMayNameIsFoldedWhole(t *testing.T) {
	longest := "/" + strings.Repeat("a", 4*512-1)
	program := compile(t, policy.Document{
		Rules: []policy.Rule{{Paths: []policy.Path{{Exact: longest}}, Access: policy.AccessDeny}}, Default: policy.AccessAuthenticated,
	})
	if got := decide(program, policy.Request{Method: "GET", Path: strings.ToUpper(longest) + "/"}, map[string]any{}); got.Reason != policy.ReasonDenied {
		t.Errorf("got %+v, want it denied", got)
	}
	if got := decide(program, policy.Request{Method: "GET", Path: strings.ToUpper(longest) + "a/"}, map[string]any{}); !got.Allow {
		t.Errorf("got %+v for a longer path, want it allowed", got)
	}
}

// FuzzDeniedPathIsDeniedHoweverItIsSpelt denies a path and asks for it in other letters, with and without a slash.
func FuzzDeniedPathIsDeniedHoweverItIsSpelt(f *testing.F) {
	f.Add("/admin", uint64(1<<1), false)
	f.Add("/Admin/", uint64(0), true)
	f.Add("/", uint64(0), true)
	f.Fuzz(func(t *testing.T, denied string, capitals uint64, slash bool) {
		for _, path := range []policy.Path{{Exact: denied}, {Prefix: denied}} {
			program, err := policy.Compile(policy.Document{
				Rules: []policy.Rule{{Paths: []policy.Path{path}, Access: policy.AccessDeny}}, Default: policy.AccessAuthenticated,
			})
			if err != nil {
				continue
			}
			spelt := []byte(denied)
			for i, c := range spelt {
				letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
				if letter && capitals>>(i%64)&1 == 1 {
					spelt[i] = c ^ 0x20
				}
			}
			asked := strings.TrimSuffix(string(spelt), "/")
			if slash || asked == "" {
				asked += "/"
			}
			if got := decide(program, policy.Request{Method: "GET", Path: asked}, map[string]any{}); got.Allow {
				t.Errorf("got %+v for %q where %q is denied, want a refusal", got, asked, denied)
			}
		}
	})
}
