package authpolicy_test

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

func TestRulesAndClaimsReachTheBundle(t *testing.T) {
	b := newBench(t)
	wanted := spec("a", v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))})
	wanted.Mode = v1alpha1.ModeAudit
	wanted.Rules = []v1alpha1.PolicyRule{{
		Hosts: []string{"*.shop.example"}, Paths: []v1alpha1.PathMatch{{Pattern: "/users/*/orders"}, {Exact: "/a"}, {Prefix: "/b"}}, Methods: []string{"GET"},
		Claims: []v1alpha1.ClaimRequirement{{Claim: "/realm_access/roles", AnyOf: []string{"admin"}}}, Scopes: []string{"orders:read"}, Expression: "claims.level > 2",
	}}
	wanted.Issuers[0].ClaimValidationRules = []v1alpha1.ClaimValidationRule{
		{Claim: "tenant", RequiredValue: "acme"}, {Expression: "claims.email_verified == true", Message: "the address is not verified"},
	}
	wanted.Issuers[0].ClaimMappings = []v1alpha1.ClaimMapping{{Name: "groups", Claim: "/realm_access/roles"}, {Name: "level", Expression: "2"}}
	b.applied("p", wanted)
	b.reconcile("p")
	got := b.bundle("p")
	if diff := cmp.Diff(got.Policy.Rules, []policy.Rule{{
		Hosts: []string{"*.shop.example"}, Paths: []policy.Path{{Pattern: "/users/*/orders"}, {Exact: "/a"}, {Prefix: "/b"}}, Methods: []string{"GET"},
		Access: policy.AccessAuthenticated, Claims: []policy.Requirement{{Claim: "/realm_access/roles", AnyOf: []string{"admin"}}}, Scopes: []string{"orders:read"},
		Expression: "claims.level > 2",
	}}); diff != "" {
		t.Errorf("got -, want + of the rules:\n%s", diff)
	}
	if got.Policy.Mode != policy.ModeAudit {
		t.Errorf("got mode %q, want Audit", got.Policy.Mode)
	}
	if diff := cmp.Diff(got.Issuers[0].Claims, policy.ClaimDocument{
		Rules: []policy.ClaimRule{
			{Claim: "tenant", RequiredValue: "acme"}, {Expression: "claims.email_verified == true", Message: "the address is not verified"},
		},
		Mappings: []policy.ClaimMapping{{Name: "groups", Claim: "/realm_access/roles"}, {Name: "level", Expression: "2"}},
	}); diff != "" {
		t.Errorf("got -, want + of the claims:\n%s", diff)
	}
}

func TestWhatOnlyACompilerSeesIsSaidWithItsPath(t *testing.T) {
	b := newBench(t)
	wrong := spec("a", v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))})
	wrong.Rules = []v1alpha1.PolicyRule{
		{Expression: "claim.level > 2"}, {Paths: []v1alpha1.PathMatch{{Pattern: "/a"}}}, {Claims: []v1alpha1.ClaimRequirement{{Claim: "/a~", AnyOf: []string{"b"}}}},
	}
	wrong.Issuers[0].ClaimValidationRules = []v1alpha1.ClaimValidationRule{{Expression: "claims.a"}}
	wrong.Issuers[0].ClaimMappings = []v1alpha1.ClaimMapping{{Name: "sub", Claim: "email"}}
	b.applied("p", wrong)
	b.reconcile("p")
	if got, want := b.conditions("p"), "Invalid Invalid"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := "rules[0].expression: 1:1: undeclared reference to 'claim' (did you mean 'claims'?); " +
		`rules[1].paths[0].pattern: has no "*", which is what stands for any segment; without one, write exact; ` +
		`rules[2].claims[0].claim: begins with "/", so it is a JSON Pointer, and in these "~" is written ~0 and a "/" inside a name ~1; ` +
		"issuers[0].claimValidationRules[0].expression: must be true or false, as in claims.level == 2, but its type is dyn; " +
		"issuers[0].claimMappings[0].name: is a registered claim, which keeps the value that was verified; choose another"
	if got := b.message("p", "Accepted"); got != want {
		t.Errorf("got message %q, want %q", got, want)
	}
}

func TestWarningsAreAConditionOfThePolicyInForce(t *testing.T) {
	b := newBench(t)
	wanted := spec("a", v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))})
	wanted.Rules = []v1alpha1.PolicyRule{{Access: v1alpha1.AccessAnonymous}, {Paths: []v1alpha1.PathMatch{{Prefix: "/admin"}}, Access: v1alpha1.AccessDeny}}
	b.applied("p", wanted)
	for _, step := range []struct {
		name   string
		change func(*v1alpha1.AuthPolicySpec)
		want   string
	}{
		{"a rule that never decides", func(*v1alpha1.AuthPolicySpec) {},
			"False UnreachableRule 1 rules[1]: never decides, since rules[0] decides all that it matches; put it before, or delete it"},
		{"the mode, which comes first", func(s *v1alpha1.AuthPolicySpec) { s.Mode = v1alpha1.ModeAudit },
			"False AuditMode 2 mode: what is refused with 401 or 403 goes on to the app, and is only counted, until this is Enforce; " +
				"rules[1]: never decides, since rules[0] decides all that it matches; put it before, or delete it"},
		{"a policy that is broken leaves the one in force", func(s *v1alpha1.AuthPolicySpec) { s.Rules[1].Expression, s.Rules[1].Access = "claim", "Authenticated" },
			"False AuditMode 2 mode: what is refused with 401 or 403 goes on to the app, and is only counted, until this is Enforce; " +
				"rules[1]: never decides, since rules[0] decides all that it matches; put it before, or delete it"},
		{"nothing", func(s *v1alpha1.AuthPolicySpec) { s.Mode, s.Rules = v1alpha1.ModeEnforce, s.Rules[:1] }, "True NoWarnings 4 nothing looks like a mistake"},
	} {
		t.Run(step.name, func(t *testing.T) {
			b.edit("p", step.change)
			b.reconcile("p")
			condition := meta.FindStatusCondition(b.policy("p").Status.Conditions, "WarningFree")
			got := ""
			if condition != nil {
				got = string(condition.Status) + " " + condition.Reason + " " + strconv.FormatInt(condition.ObservedGeneration, 10) + " " + condition.Message
			}
			if got != step.want {
				t.Errorf("got %s, want %s", got, step.want)
			}
		})
	}
}
