package jwksource_test

import (
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/jwksource"
)

const issuer = "https://idp.example/tenant"

func TestParseDiscovery(t *testing.T) {
	for _, tc := range []struct {
		name, document string
		want           string // the URL
		refusal        string
	}{
		{"takes a document of the issuer", `{"issuer":"https://idp.example/tenant","jwks_uri":"https://keys.example/certs","x":[1]}`, "https://keys.example/certs", ""},
		{"refuses another issuer's", `{"issuer":"https://idp.example/","jwks_uri":"https://keys.example/certs"}`, "", "is not of the issuer"},
		{"refuses an issuer with a slash more", `{"issuer":"https://idp.example/tenant/","jwks_uri":"https://keys.example/certs"}`, "", "is not of the issuer"},
		{"refuses a document without an issuer", `{"jwks_uri":"https://keys.example/certs"}`, "", "is not of the issuer"},
		{"refuses a list of issuers", `{"issuer":["https://idp.example/tenant"],"jwks_uri":"https://keys.example/certs"}`, "", "is not of the issuer"},
		{"refuses two issuers", `{"issuer":"https://evil.example","issuer":"https://idp.example/tenant","jwks_uri":"https://a"}`, "", "is not strict JSON"},
		{"refuses a document without a key set", `{"issuer":"https://idp.example/tenant"}`, "", "has no jwks_uri"},
		{"refuses a key set without TLS", `{"issuer":"https://idp.example/tenant","jwks_uri":"http://keys.example/certs"}`, "", "must be an https URL"},
		{"refuses a key set in a file", `{"issuer":"https://idp.example/tenant","jwks_uri":"file:///etc/passwd"}`, "", "must be an https URL"},
		{"refuses a key set with a password", `{"issuer":"https://idp.example/tenant","jwks_uri":"https://a:b@keys.example/"}`, "", "must have no user"},
		{"refuses what is no object", `[]`, "", "is not strict JSON"},
		{"refuses what is no JSON", `<html>`, "", "is not strict JSON"},
		{"refuses nothing", ``, "", "is not strict JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := jwksource.ParseDiscovery([]byte(tc.document), issuer)
			if got != tc.want || (err != nil) != (tc.refusal != "") || err != nil && !strings.Contains(err.Error(), tc.refusal) {
				t.Errorf("got %q, %v; want %q, %q", got, err, tc.want, tc.refusal)
			}
		})
	}
}

func FuzzParseDiscovery(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://idp.example/tenant","jwks_uri":"https://keys.example/certs?a=b"}`))
	f.Add([]byte(`{"issuer":"https://idp.example/tenant","jwks_uri":"https://[::1]:443/"}`))
	f.Add([]byte(`{"issuer":null,"jwks_uri":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := jwksource.ParseDiscovery(data, issuer)
		if err == nil && (jwksource.Source{Issuer: issuer, JWKSURI: got}).Check() != nil {
			t.Errorf("got %q, which is no source", got)
		}
		if err == nil && !strings.Contains(string(data), "tenant") && !strings.Contains(string(data), `\u`) {
			t.Errorf("got %q from a document that does not name the issuer", got)
		}
	})
}
