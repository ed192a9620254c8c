package bundle_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ca is a self-signed P-256 certificate. Nobody has its key.
var token, _ = sidecartoken.Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")

const ca = `-----BEGIN CERTIFICATE-----
MIIBhzCCAS2gAwIBAgIUCopIDgGUVtH4oWWPjnNw86RTfUEwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNbGF0Y2hrZXktdGVzdDAgFw0yNjExMjEyMDI0MDlaGA8yMTI2
MTAyODIwMjQwOVowGDEWMBQGA1UEAwwNbGF0Y2hrZXktdGVzdDBZMBMGByqGSM49
AgEGCCqGSM49AwEHA0IABEqJT5iGEhUBB83BCDJbZliI9p1mR/NTj4CTTw7knsxh
SPu8YSzihjZTHMJtTlv8cVKGmAGjz8ZN4gKuQA62z/2jUzBRMB0GA1UdDgQWBBSr
6Af7K1VKpIszpfjtbpx6DpukCTAfBgNVHSMEGDAWgBSr6Af7K1VKpIszpfjtbpx6
DpukCTAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIEv4Xez6V6Ay
YfrnXbBJqglyw5cOS/NHlpLKVN908qKMAiEAs4QB6fiowTDh07h++m/CHSmn7PBd
JXPKoKJsC9h81eM=
-----END CERTIFICATE-----
`

// full returns a bundle that uses every field.
func full() *bundle.Bundle {
	return &bundle.Bundle{
		Policy: policy.Document{
			Rules: []policy.Rule{{
				Hosts:      []string{"*.shop.example"},
				Paths:      []policy.Path{{Exact: "/a"}, {Prefix: "/b&c"}, {Pattern: "/c/*"}},
				Methods:    []string{"GET"},
				Access:     policy.AccessAuthenticated,
				Claims:     []policy.Requirement{{Claim: "roles", AnyOf: []string{"admin"}}},
				Scopes:     []string{"shop:read"},
				Expression: "claims.level > 2",
			}},
			Default:   policy.AccessDeny,
			Mode:      policy.ModeAudit,
			Headers:   []policy.Header{{Name: "X-Auth-Subject", Claim: "sub"}},
			KeepToken: true,
		},
		Issuers: []bundle.Issuer{
			{
				URL:        "https://auth.example",
				Audiences:  []string{"shop"},
				TokenType:  "at+jwt",
				Algorithms: []string{"ES256"},
				ClockSkew:  5 * time.Second,
				Claims: policy.ClaimDocument{
					Rules: []policy.ClaimRule{
						{Claim: "tenant", RequiredValue: "acme"}, {Expression: "claims.email_verified == true", Message: "the address is not verified"},
					},
					Mappings: []policy.ClaimMapping{{Name: "groups", Claim: "/realm_access/roles"}, {Name: "team", Expression: "'a'"}},
				},
				Keys:     bundle.KeySet(`{"keys":[]}`),
				KeysFrom: &bundle.KeysFrom{TokenIssuer: "auth", SigningKey: "auth-key", Namespace: "keys"},
				TokenService: &bundle.TokenService{
					URL:     "https://auth-issuer.shop.svc:8443",
					Address: "10.0.0.7:8443",
					CA:      ca,
					Token:   token,
				},
			},
			{URL: "https://other.example", Audiences: []string{"shop"}, Keys: bundle.KeySet(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`), Symmetric: true},
			{
				URL: "https://foreign.example", Audiences: []string{"shop"}, Keys: bundle.KeySet(`{"keys":[]}`),
				Foreign: &bundle.Foreign{JWKSURI: "https://foreign.example/certs", DiscoveryURL: "https://foreign.example/.well-known/openid-configuration", CA: ca},
			},
			{URL: "https://unknown.example", Audiences: []string{"shop"}, Foreign: &bundle.Foreign{JWKSURI: "https://unknown.example/certs"}},
		},
		Session: &bundle.Session{PathPrefix: "/auth", Issuer: "https://auth.example", TrustedProxies: []string{"10.0.0.0/8"}, ServerRendered: &bundle.ServerRendered{SignInPath: "/sign-in"}},
		Upstream: bundle.Upstream{
			Protocol: bundle.ProtocolHTTP2, ServerName: "shop.local", CA: ca, ConnectTimeout: 2 * time.Second, ResponseTimeout: time.Minute,
		},
		Limits: bundle.Limits{
			MaxConnections: 1, MaxConnectionsPerClient: 2, MaxRequests: 3, MaxStreamsPerConnection: 4, MaxHeaderBytes: 8192, MaxBodyBytes: 6,
			HeaderTimeout: 7 * time.Second, StallTimeout: 8 * time.Second, IdleTimeout: 9 * time.Second,
		},
		RevocationBound: 90 * time.Second,
	}
}

func TestBundleComesBackAsItWasWritten(t *testing.T) {
	data := marshal(t, full())
	got, err := bundle.Parse(data)
	if err != nil {
		t.Fatalf("parse what was written: %v", err)
	}
	compact := cmp.Transformer("compact", func(k bundle.KeySet) string {
		if k == nil {
			return ""
		}
		var keys any
		if err := json.Unmarshal(k, &keys); err != nil {
			t.Fatalf("key set: %v", err)
		}
		return fmt.Sprint(keys)
	})
	if diff := cmp.Diff(got, full(), compact); diff != "" {
		t.Errorf("got bundle (-), want (+):\n%s", diff)
	}
	if again := marshal(t, got); string(again) != string(data) {
		t.Errorf("got other bytes the second time:\n%s\nwant\n%s", again, data)
	}
	if !strings.Contains(string(data), "/b&c") {
		t.Error("got & escaped, want a ConfigMap that people can read")
	}
}

// TestTheFormIsStable guards version 1: managers and sidecars of different builds meet during every upgrade.
func TestTheFormIsStable(t *testing.T) {
	const golden = "testdata/full.json"
	got := marshal(t, full())
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), string(want)); diff != "" {
		t.Errorf("got bundle (-), want that of %s (+):\n%s", golden, diff)
	}
}

func TestParseRefuses(t *testing.T) {
	valid := string(marshal(t, full()))
	for _, tc := range []struct {
		name, old, new string
		want           string
	}{
		{"another version", `"version": 1`, `"version": 2`, "version: must be 1, the only one that this build knows"},
		{"an unknown field", `"keepToken"`, `"keeptoken"`, "policy.keeptoken: unknown field"},
		{"a field that is given twice", `"version": 1,`, `"version": 1, "version": 1,`, "version: given twice"},
		{"a field of another type", `"keepToken": true`, `"keepToken": "yes"`, "policy.keepToken: must be a boolean, not a string"},
		{"an issuer without a url", `"url": "https://other.example"`, `"url": ""`, "issuers[1].url: must not be empty"},
		{"two issuers of one url", `"url": "https://other.example"`, `"url": "https://auth.example"`,
			"issuers[1].url: is an earlier issuer's; each must have its own"},
		{"a skew that is no duration", `"clockSkew": "5s"`, `"clockSkew": "5"`, `issuers[0].clockSkew: must be a duration like "5s"`},
		{"a skew beyond a minute", `"clockSkew": "5s"`, `"clockSkew": "61s"`, "issuers[0].clockSkew: must be between 0s and 1m"},
		{"a skew below nothing", `"clockSkew": "5s"`, `"clockSkew": "-1s"`, "issuers[0].clockSkew: must be between 0s and 1m"},
		{"a foreign issuer's keys that are null", `"foreign": {
        "jwksURI": "https://u`, `"keys": null, "foreign": {
        "jwksURI": "https://u`, "issuers[3].keys: must be a JSON Web Key Set, which is an object"},
		{"a foreign issuer without a URL", `"jwksURI": "https://unknown.example/certs"`, `"ca": ""`, "issuers[3].foreign.jwksURI: is missing, and so is discoveryURL"},
		{"foreign keys without TLS", `"jwksURI": "https://u`, `"jwksURI": "http://u`, "issuers[3].foreign.jwksURI: must be an https URL"},
		{"a foreign authority that is none", `certs"
`, `certs", "ca": "x"
`, "issuers[3].foreign.ca: must hold a PEM certificate"},
		{"foreign secrets", `"symmetric": true`, `"symmetric": true, "foreign": {"jwksURI": "https://a"}`,
			"issuers[1].foreign: does not go with symmetric, tokenService or keysFrom"},
		{"a key set that is null", `"keys": {
        "keys": []
      }`, `"keys": null`, "issuers[0].keys: must be a JSON Web Key Set, which is an object"},
		{"a member that is twice in a key set", `"kty": "oct"`, `"kty": "oct", "kty": "RSA"`, "issuers[1].keys.keys[0].kty: given twice"},
		{"a token service without TLS", `"url": "https://auth-issuer`, `"url": "http://auth-issuer`,
			"issuers[0].tokenService.url: must be https://host:port and nothing more"},
		{"a token service with a path", `svc:8443"`, `svc:8443/x"`, "issuers[0].tokenService.url: must be https://host:port and nothing more"},
		{"a token service with a user", `"https://auth-issuer`, `"https://me@auth-issuer`,
			"issuers[0].tokenService.url: must be https://host:port and nothing more"},
		{"a token service without a host", `"https://auth-issuer.shop.svc:8443"`, `"https://:8443"`,
			"issuers[0].tokenService.url: must be https://host:port and nothing more"},
		{"an address that needs DNS", `"10.0.0.7:8443"`, `"auth-issuer:8443"`, "issuers[0].tokenService.address: must be an IP address and a port"},
		{"an address without a port", `"10.0.0.7:8443"`, `"10.0.0.7:0"`, "issuers[0].tokenService.address: must be an IP address and a port"},
		{"a CA that is no certificate", "BEGIN CERTIFICATE", "BEGIN NOTHING", "issuers[0].tokenService.ca: must hold a PEM certificate"},
		{"a session prefix that is no path", `"pathPrefix": "/auth"`, `"pathPrefix": "auth/"`,
			`session.pathPrefix: must look like "/auth": small letters, digits and "-"`},
		{"a sign-in page that is no path", `"signInPath": "/sign-in"`, `"signInPath": "https://evil.example/"`,
			`session.serverRendered.signInPath: must be a path as requests have it, such as "/sign-in"`},
		{"a sign-in page with a query", `"signInPath": "/sign-in"`, `"signInPath": "/sign-in?a=b"`,
			`session.serverRendered.signInPath: must be a path as requests have it, such as "/sign-in"`},
		{"a sign-in page that no request reaches", `"signInPath": "/sign-in"`, `"signInPath": "/auth/login"`,
			"session.serverRendered.signInPath: must be a page of the app: what is below session.pathPrefix never reaches it"},
		{"a session of an issuer that is not there", `"issuer": "https://auth.example"`, `"issuer": "https://nobody.example"`,
			"session.issuer: must be the url of an issuer that has a tokenService"},
		{"a session of an issuer that signs nobody in", `"issuer": "https://auth.example"`, `"issuer": "https://other.example"`,
			"session.issuer: must be the url of an issuer that has a tokenService"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := strings.Replace(valid, tc.old, tc.new, 1)
			if data == valid {
				t.Fatalf("found no %s in\n%s", tc.old, valid)
			}
			got, err := bundle.Parse([]byte(data))
			if got != nil {
				t.Error("got a bundle beside the error")
			}
			if err == nil || err.Error() != tc.want {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestParseRefusesWhatIsNoBundle(t *testing.T) {
	for name, data := range map[string]string{
		"nothing":          "",
		"an empty object":  "{}",
		"null":             "null",
		"a list":           "[]",
		"half a bundle":    string(marshal(t, full())[:100]),
		"two bundles":      strings.Repeat(string(marshal(t, full())), 2),
		"a huge bundle":    strings.Repeat(" ", bundle.MaxBytes) + "{}",
		"bottomless lists": strings.Repeat("[", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := bundle.Parse([]byte(data)); err == nil || got != nil {
				t.Errorf("got %v and error %v, want an error alone", got, err)
			}
		})
	}
}

func TestMarshalTellsEverythingThatParseWouldRefuse(t *testing.T) {
	b := &bundle.Bundle{
		Issuers: []bundle.Issuer{{URL: "https://a.example", Audiences: []string{"a"}, ClockSkew: time.Hour}},
		Session: &bundle.Session{PathPrefix: "/auth", Issuer: "https://b.example"},
	}
	want := strings.Join([]string{
		"issuers[0].clockSkew: must be between 0s and 1m",
		"issuers[0].keys: must be a JSON Web Key Set, which is an object",
		"session.issuer: must be the url of an issuer that has a tokenService",
	}, "\n")
	data, err := b.Marshal()
	if err == nil || err.Error() != want {
		t.Errorf("got error %v, want\n%s", err, want)
	}
	if data != nil {
		t.Errorf("got bytes beside the error: %s", data)
	}

	b = full()
	b.Issuers[0].Keys = bundle.KeySet(`{"keys":["` + strings.Repeat("x", bundle.MaxBytes) + `"]}`)
	if _, err := b.Marshal(); err == nil {
		t.Error("got no error for a bundle that no ConfigMap can hold")
	}
	b.Issuers[0].Keys = bundle.KeySet(`{"keys":`)
	if _, err := b.Marshal(); err == nil {
		t.Error("got no error for half a key set")
	}
}

func TestHasSecrets(t *testing.T) {
	all := full().Issuers
	for _, tc := range []struct {
		name   string
		issuer bundle.Issuer
		want   bool
	}{
		{"with a token service, which sidecars show a token", all[0], true},
		{"with symmetric keys", all[1], true},
		{"with public keys alone", all[2], false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := (&bundle.Bundle{Issuers: []bundle.Issuer{tc.issuer}}).HasSecrets(); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}

func TestKeySetsCannotBePrinted(t *testing.T) {
	b := full()
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("bundle", "bundle", b, "keys", b.Issuers[1].Keys)
	marshalled, err := json.Marshal(b)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	_, parseError := bundle.Parse([]byte(strings.Replace(string(marshal(t, b)), `"kty"`, `"kty": 1, "kty"`, 1)))
	for name, text := range map[string]string{
		"%v":          fmt.Sprintf("%v", b.Issuers[1]),
		"%+v":         fmt.Sprintf("%+v", b.Issuers[1]),
		"%#v":         fmt.Sprintf("%#v", b.Issuers[1]),
		"%s":          fmt.Sprintf("%s", b.Issuers[1].Keys),
		"%q":          fmt.Sprintf("%q", b.Issuers[1].Keys),
		"%x":          fmt.Sprintf("%x", b.Issuers[1].Keys),
		"%d":          fmt.Sprintf("%d", b.Issuers[1].Keys),
		"String":      b.Issuers[1].Keys.String(),
		"slog":        logged.String(),
		"json":        string(marshalled),
		"parse error": parseError.Error() + "[redacted]",
	} {
		for _, secret := range []string{"c2VjcmV0", fmt.Sprintf("%x", "c2VjcmV0"), "99 50 86 106"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: got the secret in %s", name, text)
			}
		}
		if !strings.Contains(text, "[redacted]") {
			t.Errorf("%s: got %s, want [redacted] in it", name, text)
		}
	}
}

// FuzzParse holds that what Parse takes comes back the same from Marshal, whatever it was.
func FuzzParse(f *testing.F) {
	data, err := full().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"policy":{}}`))
	f.Add([]byte(`{"version":1,"policy":{"default":"\u2028<"},"issuers":[{"url":"a","audiences":["b"],"clockSkew":"1m","keys":{ }}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := bundle.Parse(data)
		if err != nil || len(data) > bundle.MaxBytes/16 { // Indented, a large bundle may become too large.
			return
		}
		once := marshal(t, parsed)
		again, err := bundle.Parse(once)
		if err != nil {
			t.Fatalf("parse what Marshal wrote: %v\n%s", err, once)
		}
		if twice := marshal(t, again); string(twice) != string(once) {
			t.Errorf("got\n%s\nwant\n%s", twice, once)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data := marshal(b, full())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bundle.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func marshal(t testing.TB, b *bundle.Bundle) []byte {
	t.Helper()
	data, err := b.Marshal()
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return data
}
