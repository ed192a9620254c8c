package explain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/explain"
)

func TestDecisionIsToldInWordsThatATerminalCanBear(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("CET", 3600))
	for _, tc := range []struct {
		name  string
		found explain.Found
		want  string
	}{
		{
			"a refusal by a rule",
			explain.Found{
				Decision:  explain.Decision{Time: at, Method: "GET", Path: "/admin", Status: 403, Reason: "claims_not_met", Rule: new(2), Issuer: "https://auth.example", Subject: "alice"},
				Namespace: "shop", Pod: "shop-1", Policy: "shop",
			},
			`decision  refused with 403 Forbidden
reason    claims_not_met: the token has not the claims that the rule asks for
do        compare the token's claims with ` + "`claims`" + ` of the rule
request   GET /admin
time      2026-03-01T11:00:00Z
pod       shop/shop-1
policy    shop
rule      rules[2], now: kubectl get authpolicy -n shop shop -o jsonpath='{.spec.rules[2]}'
issuer    https://auth.example
subject   alice
`,
		},
		{
			"one that was not carried out",
			explain.Found{Decision: explain.Decision{Time: at, Method: "GET", Path: "/", Status: 403, Reason: "no_rule", Audited: true}, Namespace: "shop", Pod: "shop-1"},
			`decision  let through, since the policy only audits; it would have been refused with 403 Forbidden
reason    no_rule: no rule matches, and the default is Deny
do        add a rule
told      denied
request   GET /
time      2026-03-01T11:00:00Z
pod       shop/shop-1
rule      none; the default decided
`,
		},
		{
			"one that comes from a stranger, by way of a pod that lies",
			explain.Found{
				Decision:  explain.Decision{Time: at, Method: "\x1b[2J", Path: "/\u009bm\nreason", Status: 999, Reason: "new\r", Detail: "\x00", Subject: "a\u202eb"},
				Namespace: "shop", Pod: "shop-1",
			},
			`decision  refused with 999
reason    "new\r": this version of latchkey does not know the reason; try that of the sidecar
detail    "\x00"
request   "\x1b[2J" "/\u009bm\nreason"
time      2026-03-01T11:00:00Z
pod       shop/shop-1
subject   "a\u202eb"
`,
		},
	} {
		var got strings.Builder
		if err := tc.found.Write(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got.String(), tc.want); diff != "" {
			t.Errorf("%s: got -, want +:\n%s", tc.name, diff)
		}
	}
}
