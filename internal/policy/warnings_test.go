package policy_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

func TestWarnings(t *testing.T) {
	open, closed := policy.AccessAnonymous, policy.AccessDeny
	prefix := func(access policy.Access, paths ...string) policy.Rule {
		r := policy.Rule{Access: access}
		for _, path := range paths {
			r.Paths = append(r.Paths, policy.Path{Prefix: path})
		}
		return r
	}
	pattern := func(access policy.Access, path string) policy.Rule {
		return policy.Rule{Access: access, Paths: []policy.Path{{Pattern: path}}}
	}
	exact := func(access policy.Access, path string) policy.Rule {
		return policy.Rule{Access: access, Paths: []policy.Path{{Exact: path}}}
	}
	methods := func(r policy.Rule, methods ...string) policy.Rule { r.Methods = methods; return r }
	hosts := func(r policy.Rule, hosts ...string) policy.Rule { r.Hosts = hosts; return r }
	claims := func(r policy.Rule) policy.Rule {
		r.Claims = []policy.Requirement{{Claim: "a", AnyOf: []string{"b"}}}
		return r
	}

	for _, tc := range []struct {
		name  string
		rules []policy.Rule
		want  []string
	}{
		{"says nothing of exceptions before what they are exceptions from", []policy.Rule{
			exact(open, "/admin/health"), methods(pattern(open, "/admin/*/logo"), "GET"), hosts(prefix(open, "/admin/x"), "a.example"), claims(prefix("", "/admin")), {Access: closed},
		}, nil},
		{"says nothing of rules that never meet", []policy.Rule{
			prefix(open, "/a"), prefix(closed, "/ab"), methods(prefix(open, "/c"), "GET"), methods(prefix(closed, "/c"), "PUT"),
			hosts(prefix(open, "/d"), "a.example"), hosts(prefix(closed, "/d"), "b.example"), exact(open, "/e"), exact(closed, "/e/"), pattern(open, "/f/*"), pattern(closed, "/f/*/g"),
		}, nil},
		{"names a rule behind one for everything", []policy.Rule{{Access: open}, prefix(closed, "/a", "/b")}, []string{
			"rules[1]: UnreachableRule: never decides, since rules[0] decides all that it matches; put it before, or delete it",
		}},
		{"names a rule that several cover together", []policy.Rule{
			methods(prefix(closed, "/a"), "GET"), methods(prefix(closed, "/a"), "PUT", "POST"), prefix(closed, "/b"), methods(prefix(open, "/a/x", "/b"), "GET", "POST"),
		}, []string{"rules[3]: UnreachableRule: never decides, since rules[0], rules[1] and rules[2] decide all that it matches; put it before, or delete it"}},
		{"names a path of a rule that has others", []policy.Rule{prefix(closed, "/a"), prefix(closed, "/b", "/a/c")}, []string{
			"rules[1].paths[1]: ShadowedPath: never decides, since rules[0] decides all that it matches; put it before, or delete it",
		}},
		{"knows that a pattern covers", []policy.Rule{pattern(closed, "/*/a/**"), prefix(open, "/b/a/c"), pattern(open, "/*/a"), prefix(open, "/b"), exact(open, "/c/a/")}, []string{
			"rules[1]: UnreachableRule: never decides, since rules[0] decides all that it matches; put it before, or delete it",
			"rules[2]: UnreachableRule: never decides, since rules[0] decides all that it matches; put it before, or delete it",
			"rules[4]: UnreachableRule: never decides, since rules[0] decides all that it matches; put it before, or delete it",
		}},
		{"knows that a name does not cover a pattern", []policy.Rule{prefix(closed, "/b/a"), pattern(closed, "/*/a")}, nil},
		{"knows that a wildcard covers hosts below it", []policy.Rule{
			hosts(policy.Rule{Access: closed}, "*.example"), hosts(policy.Rule{Access: open}, "a.example", "*.b.example"), hosts(policy.Rule{Access: closed}, "example"),
		}, []string{"rules[1]: UnreachableRule: never decides, since rules[0] decides all that it matches; put it before, or delete it"}},
		{"does not take a host for all hosts", []policy.Rule{hosts(policy.Rule{Access: closed}, "*.example"), {Access: open}}, nil},
		{"does not take some methods for all methods", []policy.Rule{methods(policy.Rule{Access: closed}, "GET", "PUT"), {Access: open}}, nil},
		{"names a guard behind something laxer that is no exception from it", []policy.Rule{
			methods(prefix(open, "/docs"), "GET"), prefix(closed, "/docs/internal"), claims(pattern("", "/*/admin")), hosts(claims(prefix("", "/docs/x")), "a.example"),
		}, []string{
			"rules[1].paths[0]: OverlappingRules: rules[0], which asks for less, decides some of what it matches; to guard these requests too, put this rule before that one",
			"rules[2].paths[0]: OverlappingRules: rules[0], which asks for less, decides some of what it matches; to guard these requests too, put this rule before that one",
			"rules[3].paths[0]: OverlappingRules: rules[0], which asks for less, decides some of what it matches; to guard these requests too, put this rule before that one",
		}},
		{"names a guard of every path", []policy.Rule{hosts(policy.Rule{Access: open}, "a.example"), methods(policy.Rule{Access: closed}, "PUT")}, []string{
			"rules[1]: OverlappingRules: rules[0], which asks for less, decides some of what it matches; to guard these requests too, put this rule before that one",
		}},
		{"says nothing of what is as strict or stricter before", []policy.Rule{methods(prefix(closed, "/a"), "GET"), claims(prefix("", "/a/b")), claims(pattern("", "/*/b"))}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			document := policy.Document{Rules: tc.rules}
			compile(t, document)
			var got []string
			for _, warning := range policy.Warnings(document) {
				got = append(got, fmt.Sprintf("%s: %s: %s", warning.Path, warning.Reason, warning.Message))
			}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("got warnings (-), want (+):\n%s", diff)
			}
		})
	}
}

func TestAuditIsWarnedOf(t *testing.T) {
	got := policy.Warnings(policy.Document{Mode: policy.ModeAudit})
	if len(got) != 1 || got[0].Reason != policy.WarningAudit {
		t.Fatalf("got %v, want a warning of the mode", got)
	}
	if got, want := got[0].String(), "mode: what is refused with 401 or 403 goes on to the app, and is only counted, until this is Enforce"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestWhatWarningsCallUnreachableDecidesNothing holds that warnings are sound, however rules lie to each other.
func TestWhatWarningsCallUnreachableDecidesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		document := genDocument().Draw(t, "document")
		program, err := policy.Compile(document)
		if err != nil {
			t.Fatalf("compile: %v", err)
		}
		warnings := policy.Warnings(document)
		trimmed := policy.Document{Default: document.Default, Rules: slices.Clone(document.Rules)}
		unreachable := map[int]bool{}
		for i := range trimmed.Rules {
			unreachable[i] = slices.ContainsFunc(warnings, func(w policy.Warning) bool {
				return w.Reason == policy.WarningUnreachable && w.Path == fmt.Sprintf("rules[%d]", i)
			})
			paths := trimmed.Rules[i].Paths
			trimmed.Rules[i].Paths = nil
			for j, path := range paths {
				if !slices.ContainsFunc(warnings, func(w policy.Warning) bool {
					return w.Reason == policy.WarningShadowed && w.Path == fmt.Sprintf("rules[%d].paths[%d]", i, j)
				}) {
					trimmed.Rules[i].Paths = append(trimmed.Rules[i].Paths, path)
				}
			}
		}
		without, err := policy.Compile(trimmed)
		if err != nil {
			t.Fatalf("compile without shadowed paths: %v", err)
		}
		for range 20 {
			request, claims := genRequest().Draw(t, "request"), genClaims().Draw(t, "claims")
			decision := decide(program, request, claims)
			if unreachable[decision.Rule] {
				t.Fatalf("got %+v for %+v, want a rule that no warning calls unreachable: %v", decision, request, warnings)
			}
			if got := decide(without, request, claims); got != decision {
				t.Fatalf("got %+v for %+v without shadowed paths, want %+v: %v", got, request, decision, warnings)
			}
		}
	})
}

func TestWarningsEndWithHugeDocuments(t *testing.T) {
	var d policy.Document
	for i := range 256 {
		r := policy.Rule{Access: policy.AccessDeny, Methods: []string{"GET"}}
		for j := range 32 {
			r.Paths = append(r.Paths, policy.Path{Pattern: fmt.Sprintf("/*/%d/%d", i, j)})
		}
		d.Rules = append(d.Rules, r)
	}
	if got := policy.Warnings(d); len(got) > 0 {
		t.Errorf("got %v, want none", got[0])
	}
}

func BenchmarkWarnings(b *testing.B) {
	document := wide(256)
	b.ReportAllocs()
	for b.Loop() {
		_ = policy.Warnings(document)
	}
}
