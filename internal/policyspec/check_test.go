package policyspec_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/policyspec"
)

func TestSignInPageThatNobodyCanSeeIsWarnedOf(t *testing.T) {
	paths := []v1alpha1.PathMatch{{Exact: "/sign-in"}, {Prefix: "/static"}}
	for _, tc := range []struct {
		name  string
		rules []v1alpha1.PolicyRule
		want  int
	}{
		{"no rule", nil, 1},
		{"a rule that asks for a token", []v1alpha1.PolicyRule{{Access: v1alpha1.AccessAuthenticated}}, 1},
		{"a rule for everybody, behind one that asks for a token", []v1alpha1.PolicyRule{
			{Access: v1alpha1.AccessAuthenticated}, {Paths: paths, Access: v1alpha1.AccessAnonymous}}, 1},
		{"a rule for everybody", []v1alpha1.PolicyRule{{Paths: paths, Access: v1alpha1.AccessAnonymous}}, 0},
		{"a rule for everybody at some hosts", []v1alpha1.PolicyRule{{Hosts: []string{"*.shop.example"}, Paths: paths, Access: v1alpha1.AccessAnonymous}}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := v1alpha1.AuthPolicySpec{Rules: tc.rules, Default: v1alpha1.DefaultDeny, Session: &v1alpha1.PolicySession{
				ServerRendered: &v1alpha1.ServerRendered{SignInPath: "/sign-in"},
			}}
			warned := func() (times int) {
				for _, warning := range policyspec.Warnings(spec) {
					if warning.Reason == v1alpha1.ReasonSignInPageGuarded && warning.Path == "session.serverRendered.signInPath" {
						times++
					}
				}
				return times
			}
			if got := warned(); got != tc.want {
				t.Errorf("got %d warnings, want %d", got, tc.want)
			}
			spec.Session.ServerRendered = nil
			if got := warned(); got != 0 {
				t.Errorf("got %d warnings for an app with scripts, want none", got)
			}
		})
	}
}
