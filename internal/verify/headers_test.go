package verify_test

import (
	"crypto"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// TestAHeaderThatIsKnownSaysWhatItSaidBefore has one header mean two keys, and a key that comes and goes.
func TestAHeaderThatIsKnownSaysWhatItSaidBefore(t *testing.T) {
	second, untyped := issuer(), issuer()
	second.URL, second.Keys = "https://second.example", must(keyset.NewSet(
		must(keyset.New(key.ID(), "ES256", privateKey(other).(crypto.Signer).Public(), time.Time{})),
	))
	untyped.URL, untyped.TokenType, untyped.Keys, untyped.Later = "https://untyped.example", "", nil, new(atomic.Pointer[keyset.Set])
	untyped.Later.Store(set(key))
	verifier := must(verify.New([]verify.Issuer{issuer(), second, untyped}))

	under := func(signer *signing.Key, header string, claims map[string]any) string {
		return signPartsBy(t, signer, base64url.Encode([]byte(header)), base64url.Encode(must(json.Marshal(claims))))
	}
	noType := strings.Replace(header(""), `,"typ":"at+jwt"`, "", 1)
	for _, step := range []struct {
		name, token string
		want        verify.Reason
	}{
		{"the first issuer's token", under(key, header(""), good()), ""},
		{"the second issuer's, with the same header", under(other, header(""), good("iss", second.URL)), ""},
		{"the second issuer's, signed by the first", under(key, header(""), good("iss", second.URL)), verify.BadSignature},
		{"the first issuer's, signed by the second", under(other, header(""), good()), verify.BadSignature},
		{"a header without typ, where it may be so", under(key, noType, good("iss", untyped.URL)), ""},
		{"the same where it may not", under(key, noType, good()), verify.WrongType},
	} {
		for range 2 {
			if _, err := verifier.Verify(step.token, now); step.want != "" {
				wantReason(t, err, step.want)
			} else if err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
		}
	}
	untyped.Later.Store(set(other))
	_, err := verifier.Verify(under(key, noType, good("iss", untyped.URL)), now)
	wantReason(t, err, verify.UnknownKey)
}

func TestHeadersThatNobodySignedPushNoOtherOut(t *testing.T) {
	verifier := must(verify.New([]verify.Issuer{issuer()}))
	token := sign(good())
	_, rest, _ := strings.Cut(token, ".")
	// cost is how often a token takes memory right after some that nobody signed; the least, as others take some at the same time, and a sync.Pool loses one
	// in four things on purpose where races are looked for.
	cost := func(forged int) uint64 {
		least := uint64(math.MaxUint64)
		for range 20 {
			for i := range forged {
				_, err := verifier.Verify(base64url.Encode([]byte(header(fmt.Sprintf(`,"x":%d`, i))))+"."+rest, now)
				wantReason(t, err, verify.BadSignature)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := verifier.Verify(token, now); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			least = min(least, after.Mallocs-before.Mallocs)
		}
		return least
	}
	if got, want := cost(200), cost(0); got != want {
		t.Errorf("got %d allocations for a token after many with other headers, want %d as before", got, want)
	}
}
