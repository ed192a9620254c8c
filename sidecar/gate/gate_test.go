package gate_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/sidecar/gate"
)

const issuerURL = "https://auth.example"

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newBundle takes tokens of one key, for twenty paths and everything else.
func newBundle(t testing.TB, key *signing.Key) *bundle.Bundle {
	t.Helper()
	set, err := keyset.NewSet(key.Public(time.Time{}))
	check(t, err)
	keys, err := set.Marshal()
	check(t, err)
	b := &bundle.Bundle{
		Policy: policy.Document{
			Default: policy.AccessAuthenticated,
			Headers: []policy.Header{
				{Name: "X-Auth-Subject", Claim: "sub"}, {Name: "X-Auth-Email", Claim: "email"}, {Name: "X-Auth-Roles", Claim: "roles"},
			},
		},
		Issuers: []bundle.Issuer{{
			URL: issuerURL, Audiences: []string{"shop"}, TokenType: "at+jwt", ClockSkew: 5 * time.Second, Keys: keys, Symmetric: set.Symmetric(),
		}},
	}
	for i := range 20 {
		b.Policy.Rules = append(b.Policy.Rules, policy.Rule{
			Paths:  []policy.Path{{Prefix: fmt.Sprintf("/api/v%d", i)}},
			Claims: []policy.Requirement{{Claim: "roles", AnyOf: []string{"admin", "editor"}}},
		})
	}
	return b
}

func newGate(t testing.TB, key *signing.Key) *gate.Gate {
	t.Helper()
	g, err := gate.New(newBundle(t, key), nil, nil)
	check(t, err)
	return g
}

func newKey(t testing.TB, algorithm string) *signing.Key {
	t.Helper()
	key, err := signing.Generate(algorithm, 2048)
	check(t, err)
	return key
}

// newToken is good from noon for five minutes.
func newToken(t testing.TB, key *signing.Key, sub string) string {
	t.Helper()
	claims, err := json.Marshal(map[string]any{
		"iss": issuerURL, "aud": "shop", "sub": sub, "iat": noon.Unix(), "exp": noon.Add(5 * time.Minute).Unix(), "jti": "j-" + sub,
		"sid": "s-" + sub, "email": sub + "@shop.example", "roles": []string{"viewer", "editor"},
	})
	check(t, err)
	token, err := key.Sign("at+jwt", claims)
	check(t, err)
	return token
}

func newRequest(t testing.TB, path, token string) *http.Request {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://app"+path, nil)
	check(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "*/*")
	request.Header.Set("User-Agent", "test")
	return request
}

func TestTokenIsVerifiedOnceAndRefusedWhenItsTimeIsOver(t *testing.T) {
	key := newKey(t, "ES256")
	g := newGate(t, key)
	request := newRequest(t, "/api/v7/orders", newToken(t, key, "alice"))
	type step struct {
		at     time.Duration
		token  gate.Token
		allow  bool
		reason gate.Reason
	}
	steps := []step{
		{0, gate.TokenVerified, true, "authenticated"},
		{time.Second, gate.TokenCached, true, "authenticated"},
		{5*time.Minute + 4*time.Second, gate.TokenCached, true, "authenticated"}, // within the clock skew
		{5*time.Minute + 5*time.Second, gate.TokenRefused, false, "expired"},
		{5*time.Minute + 6*time.Second, gate.TokenRefused, false, "expired"},
	}
	for _, want := range steps {
		verdict := g.Judge(request, "/api/v7/orders", noon.Add(want.at))
		got := step{want.at, verdict.Token, verdict.Allow, verdict.Reason}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestAuthorizationIsNeverRemembered(t *testing.T) {
	key := newKey(t, "ES256")
	b := newBundle(t, key)
	b.Policy.Rules = append(b.Policy.Rules, policy.Rule{Paths: []policy.Path{{Prefix: "/closed"}}, Access: policy.AccessDeny})
	g, err := gate.New(b, nil, nil)
	check(t, err)
	request := newRequest(t, "/", newToken(t, key, "alice"))
	for path, want := range map[string]bool{"/": true, "/closed": false, "/api/v1": true} {
		if got := g.Judge(request, path, noon).Allow; got != want {
			t.Errorf("%s: got allowed %v, want %v", path, got, want)
		}
	}
}

func TestNewGateTellsAllThatIsWrong(t *testing.T) {
	b := newBundle(t, newKey(t, "ES256"))
	b.Policy.Rules[3].Paths[0].Prefix = "api"
	b.Issuers[0].Keys = bundle.KeySet(`{"keys":[]}`)
	b.Issuers = append(b.Issuers, b.Issuers[0])
	b.Issuers[1].URL = "https://other.example"
	_, err := gate.New(b, nil, nil)
	if err == nil {
		t.Fatal("got no error")
	}
	for _, path := range []string{"policy: rules[3].paths[0].prefix", "issuers[0].keys", "issuers[1].keys"} {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("got %q, want it to name %s", err, path)
		}
	}
}

func TestTokenServiceWhoseRevocationsAreNotFollowedIsRefused(t *testing.T) {
	b := newBundle(t, newKey(t, "ES256"))
	b.Issuers[0].TokenService = &bundle.TokenService{URL: "https://issuer", Address: "127.0.0.1:1", CA: "x"}
	if _, err := gate.New(b, nil, nil); err == nil || !strings.Contains(err.Error(), "issuers[0].tokenService") {
		t.Errorf("got %v, want an error that names issuers[0].tokenService: revoked tokens would be taken", err)
	}
}

func TestManyCallersAtOnceAreNeverMixedUp(t *testing.T) {
	key := newKey(t, "EdDSA")
	g := newGate(t, key)
	tokens := make(map[string]string)
	for i := range 64 {
		sub := fmt.Sprintf("user-%d", i)
		tokens[sub] = newToken(t, key, sub)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for sub, token := range tokens {
				verdict := g.Judge(newRequest(t, "/", token), "/", noon)
				out := &http.Request{URL: &url.URL{}, Header: http.Header{"X-Auth-Subject": {"mallory"}}}
				g.Introduce(out, out, verdict.Caller)
				if got := out.Header.Get("X-Auth-Subject"); got != sub {
					t.Errorf("got %q, want %q", got, sub)
				}
			}
		})
	}
	group.Wait()
}

func TestTenThousandTokensAreRememberedInFiveMegabytes(t *testing.T) {
	key := newKey(t, "HS256")
	g := newGate(t, key)
	tokens := make([]string, 12_000)
	for i := range tokens {
		tokens[i] = newToken(t, key, fmt.Sprintf("user-%d", i))
	}
	request := newRequest(t, "/", "")
	ask := func(tokens []string) (cached int) {
		for _, token := range tokens {
			request.Header["Authorization"][0] = "Bearer " + token
			verdict := g.Judge(request, "/", noon)
			if !verdict.Allow {
				t.Fatalf("got %+v, want it allowed", verdict)
			}
			if verdict.Token == gate.TokenCached {
				cached++
			}
		}
		return cached
	}
	before := heapBytes()
	ask(tokens[:10_000])
	if took := heapBytes() - before; took > 5<<20 {
		t.Errorf("got %d bytes for 10000 tokens, want 5 MiB at most", took)
	}
	if got := ask(tokens[:10_000]); got != 10_000 {
		t.Errorf("got %d of 10000 tokens from the cache, want all", got)
	}
	// Those that came first give way.
	ask(tokens[10_000:])
	if got := ask(tokens[5_000:]); got != 7_000 {
		t.Errorf("got %d of the 7000 newest tokens from the cache, want all", got)
	}
	if got := ask(tokens[:500]); got != 0 {
		t.Errorf("got %d of the oldest tokens from the cache, want none", got)
	}
	if took := heapBytes() - before; took > 5<<20 {
		t.Errorf("got %d bytes after 12000 tokens, want 5 MiB at most", took)
	}
	runtime.KeepAlive(g)
}

func heapBytes() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestForgedTokenThatSharesPartsWithAKnownOneIsRefused(t *testing.T) {
	for _, algorithm := range []string{"ES256", "HS256"} {
		key := newKey(t, algorithm)
		g := newGate(t, key)
		alice, mallory := newToken(t, key, "alice"), newToken(t, key, "mallory")
		known := newRequest(t, "/", alice)
		if verdict := g.Judge(known, "/", noon); !verdict.Allow {
			t.Fatalf("got %+v", verdict)
		}
		signed := func(token string) int { return strings.LastIndexByte(token, '.') }
		forged := mallory[:signed(mallory)] + alice[signed(alice):]
		short := alice[len(alice)-32:]
		for _, token := range []string{forged, short, "", alice + "A", "x" + alice} {
			if verdict := g.Judge(newRequest(t, "/", token), "/", noon); verdict.Allow || verdict.Token != gate.TokenRefused {
				t.Errorf("%s: got %+v for %.40q, want it refused", algorithm, verdict, token)
			}
		}
		if verdict := g.Judge(known, "/", noon); verdict.Token != gate.TokenCached || verdict.Caller.Subject != "alice" {
			t.Errorf("%s: got %+v, want alice from the cache", algorithm, verdict)
		}
	}
}

func TestLongTokensTakeNoMoreMemoryThanManyShortOnes(t *testing.T) {
	key := newKey(t, "HS256")
	g := newGate(t, key)
	padding := strings.Repeat("x", 2<<10) // the subject is in four claims
	requests := make([]*http.Request, 3_000)
	length := 0
	for i := range requests {
		token := newToken(t, key, fmt.Sprint(i)+padding)
		length = max(length, len(token))
		requests[i] = newRequest(t, "/", token)
	}
	before := heapBytes()
	for i := range requests {
		if verdict := g.Judge(requests[i], "/", noon); !verdict.Allow {
			t.Fatalf("got %+v, want it allowed", verdict)
		}
	}
	if took := heapBytes() - before; took > 12<<20 {
		t.Errorf("got %d bytes for 3000 tokens of up to %d bytes, want 12 MiB at most", took, length)
	}
	cached := 0
	for i := len(requests) - 1; i >= 0; i-- {
		if g.Judge(requests[i], "/", noon).Token == gate.TokenCached {
			cached++
		}
	}
	if cached < 10 || cached == len(requests) {
		t.Errorf("got %d of %d tokens from the cache, want some", cached, len(requests))
	}
}

func TestIntroduceLeavesOtherHeadersAlone(t *testing.T) {
	key := newKey(t, "ES256")
	g := newGate(t, key)
	request := newRequest(t, "/", newToken(t, key, "alice"))
	verdict := g.Judge(request, "/", noon)
	header := http.Header{
		"Accept": {"*/*"}, "Authorization": request.Header["Authorization"], "X_auth_subject": {"mallory"}, "X-Auth-Email": {"a", "b"}, "X-Authority": {"kept"},
	}
	g.Introduce(request, &http.Request{URL: &url.URL{}, Header: header}, verdict.Caller)
	want := http.Header{
		"Accept": {"*/*"}, "X-Authority": {"kept"},
		"X-Auth-Subject": {"alice"}, "X-Auth-Email": {"alice@shop.example"}, "X-Auth-Roles": {"viewer,editor"},
	}
	if diff := cmp.Diff(header, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestRequestWithAKnownTokenIsJudgedWithoutAllocations(t *testing.T) {
	key := newKey(t, "ES256")
	g := newGate(t, key)
	request := newRequest(t, "/api/v7/orders/1", newToken(t, key, "alice"))
	out := &http.Request{URL: &url.URL{}, Header: make(http.Header, 8)}
	judge := func() {
		verdict := g.Judge(request, "/api/v7/orders/1", noon)
		if !verdict.Allow {
			t.Fatalf("got %+v", verdict)
		}
		clear(out.Header)
		for name, values := range request.Header {
			out.Header[name] = values
		}
		g.Introduce(out, out, verdict.Caller)
	}
	judge() // to know the token
	if got := testing.AllocsPerRun(100, judge); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

// The whole of what is decided about a request whose token was seen before: verified from the cache, judged by 20 rules, introduced.
func BenchmarkKnownToken(b *testing.B) {
	key := newKey(b, "ES256")
	g := newGate(b, key)
	requests := make([]*http.Request, 1000)
	for i := range requests {
		requests[i] = newRequest(b, "/api/v7/orders/1", newToken(b, key, fmt.Sprint(i)))
		g.Judge(requests[i], "/api/v7/orders/1", noon)
	}
	header := make(http.Header, 8)
	out := &http.Request{URL: &url.URL{}, Header: header}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		request := requests[i%len(requests)]
		verdict := g.Judge(request, "/api/v7/orders/1", noon)
		if !verdict.Allow || verdict.Token != gate.TokenCached {
			b.Fatalf("got %+v", verdict)
		}
		clear(header)
		for name, values := range request.Header {
			header[name] = values
		}
		g.Introduce(out, out, verdict.Caller)
	}
}

// The same for a token that was never seen: the signature check is nearly all of it.
func BenchmarkNewToken(b *testing.B) {
	for _, algorithm := range []string{"ES256", "RS256", "EdDSA", "HS256"} {
		b.Run(algorithm, func(b *testing.B) {
			key := newKey(b, algorithm)
			document := newBundle(b, key)
			var requests [100]*http.Request
			for i := range requests {
				requests[i] = newRequest(b, "/api/v7/orders/1", newToken(b, key, fmt.Sprint("user-", i)))
			}
			b.ReportAllocs()
			var g *gate.Gate
			for n := 0; b.Loop(); n++ {
				if n%len(requests) == 0 { // nobody is known again
					b.StopTimer()
					var err error
					g, err = gate.New(document, nil, nil)
					check(b, err)
					b.StartTimer()
				}
				if verdict := g.Judge(requests[n%len(requests)], "/api/v7/orders/1", noon); verdict.Token != gate.TokenVerified {
					b.Fatalf("got %+v", verdict)
				}
			}
		})
	}
}

// The headers of a request, rewritten for the app.
func BenchmarkIntroduce(b *testing.B) {
	key := newKey(b, "ES256")
	g := newGate(b, key)
	request := newRequest(b, "/", newToken(b, key, "alice"))
	request.Header["X-Auth-Subject"], request.Header["X_auth_roles"] = []string{"mallory"}, []string{"admin"}
	caller := g.Judge(request, "/", noon).Caller
	header := make(http.Header, 8)
	out := &http.Request{URL: &url.URL{}, Header: header}
	b.ReportAllocs()
	for b.Loop() {
		clear(header)
		for name, values := range request.Header {
			header[name] = values
		}
		g.Introduce(request, out, caller)
	}
	if got := header.Get("X-Auth-Subject"); got != "alice" {
		b.Errorf("got %q, want alice", got)
	}
}

// What a changed bundle costs before it is in force: read, its keys vetted, its policy compiled.
func BenchmarkLoad(b *testing.B) {
	document := newBundle(b, newKey(b, "ES256"))
	data, err := document.Marshal()
	check(b, err)
	b.ReportAllocs()
	for b.Loop() {
		parsed, err := bundle.Parse(data)
		check(b, err)
		_, err = gate.New(parsed, nil, nil)
		check(b, err)
	}
}
