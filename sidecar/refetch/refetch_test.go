package refetch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/sidecar/gate"
	"github.com/latchkey-dev/latchkey/sidecar/refetch"
	"github.com/latchkey-dev/latchkey/test/foreignissuer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func anywhere(netip.Addr) error { return nil }

// bench is a gate in front of which tokens of a foreign issuer arrive.
type bench struct {
	*testing.T
	issuer *foreignissuer.Issuer
	pool   *refetch.Pool
	ctx    context.Context
	gate   *gate.Gate

	mu     sync.Mutex
	now    time.Time
	counts map[string]int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, issuer: foreignissuer.Start(t, "127.0.0.1"), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), counts: map[string]int{}}
	b.pool = refetch.NewPool(refetch.Options{
		Addresses: anywhere, Now: b.clock, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Count: func(outcome string) { b.mu.Lock(); b.counts[outcome]++; b.mu.Unlock() },
	})
	var stop context.CancelFunc
	b.ctx, stop = context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); b.pool.Wait() })
	return b
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) step(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// load brings a bundle into force that has these keys of the issuer; without any, one whose keys nobody could fetch.
func (b *bench) load(keys ...*signing.Key) {
	b.Helper()
	document := &bundle.Bundle{
		Policy: policy.Document{Default: policy.AccessAuthenticated},
		Issuers: []bundle.Issuer{{
			URL: b.issuer.URL, Audiences: []string{"app"}, Keys: jwks(b.T, keys...), Foreign: &bundle.Foreign{JWKSURI: b.issuer.JWKSURI, CA: b.issuer.CA},
		}},
	}
	plan, err := b.pool.Prepare(b.ctx, document.Issuers)
	if err != nil {
		b.Fatal(err)
	}
	if b.gate, err = gate.New(document, nil, plan.Refetchers()); err != nil {
		b.Fatal(err)
	}
	plan.Start()
}

func jwks(t *testing.T, keys ...*signing.Key) bundle.KeySet {
	t.Helper()
	if len(keys) == 0 {
		return nil
	}
	var public []*keyset.Key
	for _, key := range keys {
		public = append(public, key.Public(time.Time{}))
	}
	set, err := keyset.NewSet(public...)
	if err != nil {
		t.Fatal(err)
	}
	text, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newKey(t *testing.T) *signing.Key {
	t.Helper()
	key, err := signing.Generate("ES256", 0)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (b *bench) token(key *signing.Key) string {
	b.Helper()
	claims, err := json.Marshal(map[string]any{"iss": b.issuer.URL, "aud": "app", "exp": b.clock().Add(time.Hour).Unix()})
	if err != nil {
		b.Fatal(err)
	}
	token, err := key.Sign("JWT", claims)
	if err != nil {
		b.Fatal(err)
	}
	return token
}

// madeUp is a token of the issuer, as anybody can write one, that names a key nobody has.
func (b *bench) madeUp(n int) string {
	return base64url.Encode(fmt.Appendf(nil, `{"alg":"ES256","kid":"%d"}`, n)) + "." +
		base64url.Encode(fmt.Appendf(nil, `{"iss":%q,"aud":"app","exp":9999999999}`, b.issuer.URL)) + "." + base64url.Encode(make([]byte, 64))
}

func (b *bench) judge(token string) gate.Verdict {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://app/", nil)
	if err != nil {
		b.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return b.gate.Judge(request, "/", b.clock())
}

func (b *bench) want(what, token string, want gate.Reason) {
	b.Helper()
	if got := b.judge(token).Reason; got != want {
		b.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func (b *bench) asked(want int) {
	b.Helper()
	if got := b.issuer.Asked(); got != want {
		b.Errorf("got %d requests to the issuer, want %d", got, want)
	}
}

func TestAKeyThatNobodyKnewIsFetchedOnce(t *testing.T) {
	b, old, fresh := newBench(t), newKey(t), newKey(t)
	b.issuer.Publish(t, old, fresh)
	b.load(old)
	b.want("a known key", b.token(old), "authenticated")
	b.asked(0)
	b.want("a new key", b.token(fresh), "authenticated")
	b.want("the new key again", b.token(fresh), "authenticated")
	b.asked(1)

	b.load(old) // another bundle, for some other reason
	b.want("the new key under another bundle", b.token(fresh), "authenticated")
	b.asked(1)
}

func TestUnknownKeysAreAskedAboutOnceInAWhile(t *testing.T) {
	b, old, fresh := newBench(t), newKey(t), newKey(t)
	b.issuer.Publish(t, old)
	b.load(old)
	b.want("a made-up key", b.madeUp(1), "unknown_key")
	b.issuer.Publish(t, old, fresh)
	b.want("a new key, right after that", b.token(fresh), "unknown_key")
	b.load(old)
	b.want("a new bundle changes nothing of that", b.token(fresh), "unknown_key")
	b.asked(1)
	b.step(30 * time.Second)
	b.want("a new key, half a minute later", b.token(fresh), "authenticated")
	b.asked(2)
}

func TestWhatWasFoundEndsUnlessItIsFoundAgain(t *testing.T) {
	b, old, fresh := newBench(t), newKey(t), newKey(t)
	b.issuer.Publish(t, old, fresh)
	b.load(old)
	b.want("a new key", b.token(fresh), "authenticated")
	b.issuer.Publish(t, old) // it is withdrawn
	b.step(15*time.Minute - time.Second)
	b.want("before its end here", b.token(fresh), "authenticated")
	b.asked(1)
	b.step(time.Second)
	b.want("from its end on", b.token(fresh), "unknown_key")
	b.asked(2)
}

func TestAnIssuerWhoseKeysNobodyHasIsAskedForThem(t *testing.T) {
	b, key := newBench(t), newKey(t)
	b.load()
	if got := b.judge(b.token(key)); got.Reason != "issuer_unavailable" || got.Status != http.StatusServiceUnavailable || got.Challenge != "" {
		t.Errorf("got %+v, want 503 without a challenge", got)
	}
	b.issuer.Publish(t, key)
	b.step(30 * time.Second)
	b.want("when it is back", b.token(key), "authenticated")
}

func TestAThousandMadeUpKeysCauseOneRequestAndHoldUpNobody(t *testing.T) {
	b, key := newBench(t), newKey(t)
	b.load(key)
	began, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.issuer.Answer(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(began) })
		select {
		case <-release:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	token := b.token(key)
	b.want("a known key", token, "authenticated")

	var attackers sync.WaitGroup
	var refused atomic.Int64
	for n := range 1000 {
		attackers.Go(func() {
			if b.judge(b.madeUp(n)).Reason == "unknown_key" {
				refused.Add(1)
			}
		})
	}
	<-began // and nothing has come back
	for range 100 {
		b.want("a known key meanwhile", token, "authenticated")
		b.want("a token of a known key that was never seen meanwhile", b.token(key), "authenticated")
	}
	close(release)
	attackers.Wait()
	if got := refused.Load(); got != 1000 {
		t.Errorf("got %d refused, want all", got)
	}
	b.asked(1)
	before := time.Now()
	for n := range 1000 {
		b.want("a made-up key later", b.madeUp(n), "unknown_key")
	}
	b.asked(1)
	t.Logf("1,000 made-up keys after that took %v", time.Since(before))
}

func TestNobodyWaitsLongForAnIssuerThatHangs(t *testing.T) {
	b, key := newBench(t), newKey(t)
	b.issuer.Hang()
	b.load(key)
	began := time.Now()
	b.want("a made-up key", b.madeUp(1), "unknown_key")
	if took := time.Since(began); took < time.Second || took > 5*time.Second {
		t.Errorf("got an answer after %v, want it after some 2s", took)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	request, err := http.NewRequestWithContext(gone, http.MethodGet, "http://app/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+b.madeUp(2))
	began = time.Now()
	b.gate.Judge(request, "/", b.clock())
	if took := time.Since(began); took > time.Second {
		t.Errorf("got %v of waiting for a caller who has gone", took)
	}
	b.asked(1)
}

func TestTheIssuerOfAnotherTokenIsNotAsked(t *testing.T) {
	b, key := newBench(t), newKey(t)
	b.issuer.Publish(t, key)
	b.load(key)
	forged := b.token(key)
	b.want("a forged token of a known key", forged[:len(forged)-8]+"AAAAAAAA", "bad_signature")
	b.want("a token of another issuer", base64url.Encode([]byte(`{"alg":"ES256","kid":"x"}`))+"."+
		base64url.Encode([]byte(`{"iss":"https://evil.example"}`))+"."+base64url.Encode(make([]byte, 64)), "unknown_issuer")
	b.want("garbage", "a.b.c", "malformed")
	b.asked(0)
}
