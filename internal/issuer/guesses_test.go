package issuer_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer"
)

// guess tries to sign in from an address and returns the reason of the refusal, empty for success.
func (w *world) guess(name, pass, address string) string {
	w.t.Helper()
	a := w.do(w.from(w.loginRequest(name, pass), address))
	if a.status == http.StatusTooManyRequests {
		if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
			w.t.Errorf("429 with Retry-After %q", a.header.Get("Retry-After"))
		}
	}
	return a.reason
}

const (
	wrong     = string(issuer.ReasonInvalidCredentials)
	throttled = string(issuer.ReasonThrottled)
)

func TestGuessingOnePasswordFromOneNetworkIsThrottled(t *testing.T) {
	for _, name := range []string{"alice", "nobody"} { // who is not there is throttled alike, or it would tell
		t.Run(name, func(t *testing.T) {
			w := start(t)
			for i := range 10 {
				if got := w.guess(name, "wrong", fmt.Sprintf("192.0.2.%d", i)); got != wrong {
					t.Fatalf("guess %d: got %q, want %q", i, got, wrong)
				}
			}
			if got := w.guess(strings.ToUpper(name), passwordOf("alice"), "192.0.2.99"); got != throttled {
				t.Errorf("the eleventh guess: got %q, want %q, right or not", got, throttled)
			}
			if name == "alice" {
				if got := w.guess(name, passwordOf(name), "198.51.100.1"); got != "" {
					t.Errorf("from another network: got %q, want a session", got)
				}
			}
			if got := w.guess("bob", passwordOf("bob"), "192.0.2.1"); got != "" {
				t.Errorf("another user in the network: got %q, want a session", got)
			}
			w.clock.step(10 * time.Minute)
			if got := w.guess(name, "wrong", "192.0.2.1"); got != wrong {
				t.Errorf("ten minutes later: got %q, want %q", got, wrong)
			}
		})
	}
}

func TestGuessesAtOnceAreNoMoreThanGuessesInTurn(t *testing.T) {
	w := start(t)
	var looked atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			a, err := w.try(w.from(w.loginRequest("alice", "wrong"), "192.0.2.7"))
			if err != nil {
				t.Error(err)
			}
			if a.reason == wrong {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	if got := looked.Load(); got > 10 {
		t.Errorf("passwords looked at: got %d, want 10 at most", got)
	}
}

func TestSigningInIsNoGuess(t *testing.T) {
	w := start(t)
	for i := range 25 {
		if got := w.guess("alice", passwordOf("alice"), "192.0.2.7"); got != "" {
			t.Fatalf("sign-in %d: got %q, want a session", i, got)
		}
	}
}

func TestGuessingOnePasswordFromManyNetworksIsThrottled(t *testing.T) {
	w := start(t)
	w.loginFrom("alice", "203.0.113.5", "phone")
	for i := range 100 {
		if got := w.guess("alice", "wrong", fmt.Sprintf("10.0.%d.1", i)); got != wrong {
			t.Fatalf("guess %d: got %q, want %q", i, got, wrong)
		}
	}
	if got := w.guess("alice", passwordOf("alice"), "10.1.0.1"); got != throttled {
		t.Errorf("from one network more: got %q, want %q", got, throttled)
	}
	if got := w.guess("alice", passwordOf("alice"), "203.0.113.77"); got != "" {
		t.Errorf("where alice is signed in: got %q, want a session, or anybody could lock her out", got)
	}
}

func TestTryingOnePasswordWithManyNamesIsThrottled(t *testing.T) {
	w := start(t)
	for i := range 300 {
		if got := w.guess(fmt.Sprintf("user %d", i), "wrong", "2001:db8::"+strconv.Itoa(i)); got != wrong {
			t.Fatalf("guess %d: got %q, want %q", i, got, wrong)
		}
	}
	if got := w.guess("alice", passwordOf("alice"), "2001:db8::ffff"); got != throttled {
		t.Errorf("one name more: got %q, want %q", got, throttled)
	}
	if got := w.guess("alice", passwordOf("alice"), "2001:db8:0:1::1"); got != throttled {
		t.Errorf("from another /64 of the same site: got %q, want %q", got, throttled)
	}
	if got := w.guess("alice", passwordOf("alice"), "2001:db8:1::1"); got != "" {
		t.Errorf("from another site: got %q, want a session", got)
	}
}

// Whoever has one machine may have 65,536 networks of IPv6: a /48 is given away for nothing.
func TestManyNetworksOfOneSiteGuessAsOne(t *testing.T) {
	w := start(t)
	for i := range 10 {
		if got := w.guess("alice", "wrong", fmt.Sprintf("2001:db8:7:%x::1", i)); got != wrong {
			t.Fatalf("guess %d: got %q, want %q", i, got, wrong)
		}
	}
	if got := w.guess("alice", "wrong", "2001:db8:7:ffff::1"); got != throttled {
		t.Errorf("from one more /64: got %q, want %q", got, throttled)
	}
}

func TestOneNetworkAloneLocksNobodyOut(t *testing.T) {
	w := start(t)
	for range 11 { // nearly an hour
		for w.guess("alice", "wrong", "203.0.113.5") == wrong {
		}
		w.clock.step(5 * time.Minute)
	}
	if got := w.guess("alice", passwordOf("alice"), "198.51.100.1"); got != "" {
		t.Errorf("alice, from where nobody guesses: got %q, want a session", got)
	}
}
