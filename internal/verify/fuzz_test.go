package verify_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/verify"
)

// FuzzVerify looks for a token that is taken though it was not signed: every one that is must be, but for its signature, byte for byte one
// that the issuer made.
func FuzzVerify(f *testing.F) {
	genuine := sign(good())
	for _, seed := range []string{
		genuine, genuine + "\n", " " + genuine, genuine + ".a", "..", "a.b.c.d.e", `{"payload":"","signatures":[]}`, "eyJhbGciOiJub25lIn0.e30.",
		strings.Replace(genuine, ".", "..", 1), strings.ToLower(genuine),
	} {
		f.Add(seed)
	}
	verifier := must(verify.New([]verify.Issuer{issuer()}))
	f.Fuzz(func(t *testing.T, token string) {
		got, err := verifier.Verify(token, now)
		if err == nil {
			if last := strings.LastIndex(genuine, "."); !strings.HasPrefix(token, genuine[:last+1]) || len(token) != len(genuine) {
				t.Fatalf("got %+v for a token that nobody signed: %q", got, token)
			}
			return
		}
		var refusal *verify.Refusal
		if !errors.As(err, &refusal) || refusal.Reason == "" || refusal.Detail == "" {
			t.Fatalf("got %#v, want a refusal with a reason", err)
		}
	})
}

// FuzzClaims signs whatever claims it is given: no claims may break the verifier, and those that it takes must be in force.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"https://auth.example","aud":"app","exp":1767268860}`,
		`{"iss":"https://auth.example","aud":["x","api"],"exp":1767268860.9,"nbf":0,"iat":1e9,"sub":"a"}`,
		`{"iss":"https://auth.example","aud":"app","exp":1e308}`, `{"iss":"https://auth.example","aud":"app","exp":-0}`, `[]`, `{"iss":null}`,
	} {
		f.Add(seed)
	}
	verifier := must(verify.New([]verify.Issuer{issuer()}))
	f.Fuzz(func(t *testing.T, claims string) {
		got, err := verifier.Verify(signText(claims), now)
		if err != nil {
			return
		}
		if got.Issuer != issuerURL || !got.ValidUntil.After(now) || got.Expires.Add(5*time.Second).Before(now) || got.IssuedAt.After(now.Add(5*time.Second)) {
			t.Errorf("got %+v at %v", got, now)
		}
	})
}
