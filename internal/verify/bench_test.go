package verify_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// BenchmarkVerify is a token that no cache has seen. "whole" less "signature" is what the envelope and the claims cost.
func BenchmarkVerify(b *testing.B) {
	claims := must(json.Marshal(good("auth_time", unix(-time.Hour), "client_id", "latchkey", "email", "alice@example.com", "roles", []string{"admin", "viewer"})))
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA", "HS256"} {
		k := must(signing.Generate(algorithm, 0))
		i := issuer()
		i.Keys = set(k)
		verifier := must(verify.New([]verify.Issuer{i}))
		token := must(k.Sign("at+jwt", claims))
		b.Run(algorithm+"/whole", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verifier.Verify(token, now); err != nil {
					b.Fatal(err)
				}
			}
		})
		last := strings.LastIndex(token, ".")
		public, input, signature := k.Public(time.Time{}), []byte(token[:last]), must(base64url.Decode(token[last+1:]))
		b.Run(algorithm+"/signature", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := public.Verify(input, signature); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkIssuers shows that a token costs the same however many issuers there are.
func BenchmarkIssuers(b *testing.B) {
	for _, count := range []int{1, 50} {
		issuers := []verify.Issuer{issuer()}
		for n := 1; n < count; n++ {
			another := issuer()
			another.URL, another.Keys = fmt.Sprintf("%s/%d", issuerURL, n), set(other)
			issuers = append(issuers, another)
		}
		verifier := must(verify.New(issuers))
		for _, bc := range []struct {
			name, token string
			taken       bool
		}{{"taken", sign(good()), true}, {"unknown issuer", sign(good("iss", "x")), false}} {
			b.Run(fmt.Sprintf("%d/%s", count, bc.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := verifier.Verify(bc.token, now); (err == nil) != bc.taken {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRefuse is what garbage costs, of which anybody can send any amount.
func BenchmarkRefuse(b *testing.B) {
	verifier := must(verify.New([]verify.Issuer{issuer()}))
	members := map[string]any{}
	for i := range 1000 {
		members[fmt.Sprint("A", i)] = 1
	}
	for _, bc := range []struct{ name, token string }{
		{"dots", strings.Repeat(".", 16<<10)},
		{"members", sign(members)},
		{"unknown issuer", sign(good("iss", "x"))},
		{"unknown kid", must(other.Sign("at+jwt", must(json.Marshal(good()))))},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verifier.Verify(bc.token, now); err == nil {
					b.Fatal("taken")
				}
			}
		})
	}
}
