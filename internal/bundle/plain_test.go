package bundle_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// A sidecar refuses a bundle with a member that it does not know: to ignore one could let in whom it shuts out. So during an upgrade, when the
// manager is newer than the sidecars, a policy that uses nothing new must not get a member more than the first release wrote. Never update this file: have the
// new member left out where it is not used.
func TestABundleThatUsesNothingNewIsOneThatTheFirstSidecarsRead(t *testing.T) {
	got := marshal(t, &bundle.Bundle{
		Policy: policy.Document{
			Rules:   []policy.Rule{{Paths: []policy.Path{{Prefix: "/a"}}, Access: policy.AccessAuthenticated}},
			Default: policy.AccessDeny,
			Headers: []policy.Header{{Name: "X-Auth-Subject", Claim: "sub"}},
		},
		Issuers: []bundle.Issuer{{
			URL: "https://auth.example", Audiences: []string{"shop"}, TokenType: "at+jwt", ClockSkew: 5e9, Keys: bundle.KeySet(`{"keys":[]}`),
			KeysFrom:     &bundle.KeysFrom{TokenIssuer: "auth", SigningKey: "auth-key"},
			TokenService: &bundle.TokenService{URL: "https://auth-issuer.shop.svc:8443", Address: "10.0.0.7:8443", CA: ca, Token: token},
		}},
		Session:   &bundle.Session{PathPrefix: "/auth", Issuer: "https://auth.example"},
		AccessLog: bundle.AccessLogDenied,
	})
	want, err := os.ReadFile("testdata/plain.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), string(want)); diff != "" {
		t.Errorf("got bundle (-), want that of the first release (+):\n%s", diff)
	}
}
