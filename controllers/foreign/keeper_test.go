package foreign_test

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/latchkey-dev/latchkey/controllers/foreign"
	"github.com/latchkey-dev/latchkey/internal/jwksource"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/test/foreignissuer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for what should take milliseconds, on a busy machine.
const patience = time.Minute

// steppedClock is stepped by hand, and tells which timers are set.
type steppedClock struct {
	*clocktesting.FakeClock
	set chan time.Duration
}

func (c steppedClock) NewTimer(d time.Duration) clock.Timer {
	timer := c.FakeClock.NewTimer(d)
	c.set <- d
	return timer
}

// bench is a Keeper that runs.
type bench struct {
	*testing.T
	*foreign.Keeper
	clock steppedClock
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, clock: steppedClock{clocktesting.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)), make(chan time.Duration, 1000)}}
	var err error
	b.Keeper, err = foreign.New(foreign.Options{Addresses: func(netip.Addr) error { return nil }, Clock: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

func policy(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}

func from(i *foreignissuer.Issuer) jwksource.Source {
	return jwksource.Source{Issuer: i.URL, JWKSURI: i.JWKSURI, CA: i.CA}
}

func (b *bench) keep(name string, sources ...jwksource.Source) []jwksource.State {
	b.Helper()
	states, err := b.Keep(policy(name), sources)
	if err != nil {
		b.Fatal(err)
	}
	return states
}

// changed waits for the next policy that is told of.
func (b *bench) changed() string {
	b.Helper()
	select {
	case event := <-b.Changed():
		return event.Object.GetNamespace() + "/" + event.Object.GetName()
	case <-time.After(patience):
		b.Fatal("nothing changed")
		return ""
	}
}

// pause waits until a source has been tried and waits for its next turn.
func (b *bench) pause() time.Duration {
	b.Helper()
	select {
	case d := <-b.clock.set:
		return d
	case <-time.After(patience):
		b.Fatal("nobody waits")
		return 0
	}
}

func newKey(t *testing.T) *signing.Key {
	t.Helper()
	key, err := signing.Generate("ES256", 0)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestPoliciesThatNameOneSourceShareItsFetches(t *testing.T) {
	b, issuer := newBench(t), foreignissuer.Start(t, "127.0.0.1")
	issuer.Publish(t, newKey(t))
	if state := b.keep("a", from(issuer))[0]; !state.Pending || state.Fetched != nil {
		t.Errorf("at first: got %+v, want it pending", state)
	}
	b.keep("b", from(issuer))
	told := map[string]bool{b.changed(): true}
	for len(told) < 2 {
		if state := b.keep("b", from(issuer))[0]; state.Pending || state.Failure != nil || state.Fetched.Set.Len() != 1 {
			t.Fatalf("got %+v, want the set", state)
		}
		told[b.changed()] = true
	}
	if !told["shop/a"] || !told["shop/b"] {
		t.Errorf("got %v told", told)
	}
	if got := issuer.Asked(); got != 1 {
		t.Errorf("got %d requests, want 1", got)
	}

	issuer.Publish(t, newKey(t), newKey(t))
	b.keep("a") // b goes on
	if d := b.pause(); d < 9*time.Minute || d > 10*time.Minute {
		t.Errorf("got a pause of %v, want nearly 10m", d)
	}
	b.clock.Step(10 * time.Minute)
	if got := b.changed(); got != "shop/b" {
		t.Errorf("got %s told, want shop/b", got)
	}
	if got := b.keep("b", from(issuer))[0].Fetched.Set.Len(); got != 2 {
		t.Errorf("got %d keys, want 2", got)
	}
	b.pause()
	b.keep("b") // nobody does
	b.clock.Step(time.Hour)
	b.keep("b", from(issuer)) // as one that was never heard of
	b.changed()
	if got := issuer.Asked(); got != 3 {
		t.Errorf("got %d requests, want 3: none while nobody needed the keys", got)
	}
}

func TestAnOutageKeepsTheLastGoodSetAndIsAskedAboutEverMoreRarely(t *testing.T) {
	b, issuer := newBench(t), foreignissuer.Start(t, "127.0.0.1")
	issuer.Publish(t, newKey(t))
	good := func() jwksource.State { return b.keep("a", from(issuer))[0] }
	good()
	b.changed()
	fetched, at := good().Fetched, good().At

	b.clock.Step(b.pause())
	b.pause() // 304: of no interest to anybody
	if state := good(); state.Fetched.Set != fetched.Set || !state.At.After(at) || state.Failure != nil {
		t.Errorf("unchanged: got %+v", state)
	}
	at = good().At

	issuer.Fail(http.StatusBadGateway)
	b.clock.Step(10 * time.Minute)
	b.changed()
	for i, most := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
		d := b.pause()
		if most *= time.Second; d < most/2 || d > most {
			t.Errorf("after failure %d: got a pause of %v, want %v to %v", i+1, d, most/2, most)
		}
		if state := good(); state.Fetched.Set != fetched.Set || !state.At.Equal(at) || state.Failure == nil || state.Failure.Kind != jwksource.KindStatus {
			t.Errorf("after failure %d: got %+v, want the last good set and a failure", i+1, state)
		}
		b.clock.Step(d)
	}
	b.pause()

	issuer.PublishText(`{"keys":[]}`) // worse than nothing
	b.clock.Step(10 * time.Minute)
	b.changed()
	if state := good(); state.Fetched.Set != fetched.Set || state.Failure.Kind != jwksource.KindDocument {
		t.Errorf("with an empty set: got %+v, want the last good one", state)
	}
	b.pause()
	issuer.Publish(t, newKey(t))
	b.clock.Step(10 * time.Minute)
	b.changed()
	if state := good(); state.Failure != nil || state.Fetched.Set.Fingerprint() == fetched.Set.Fingerprint() {
		t.Errorf("afterwards: got %+v, want the new set", state)
	}
	if d := b.pause(); d < 9*time.Minute {
		t.Errorf("afterwards: got a pause of %v", d)
	}
}

func TestAnIssuerThatHangsHoldsUpNoOther(t *testing.T) {
	b := newBench(t)
	for range 16 {
		hanging := foreignissuer.Start(t, "127.0.0.1")
		hanging.Hang()
		b.keep(hanging.URL, from(hanging))
	}
	issuer := foreignissuer.Start(t, "127.0.0.1")
	issuer.Publish(t, newKey(t))
	b.keep("good", from(issuer))
	if got := b.changed(); got != "shop/good" {
		t.Errorf("got %s told first, want the one that answers", got)
	}
}

func TestASourceIsPendingForAsLongAsOneFetchMayTake(t *testing.T) {
	b, issuer := newBench(t), foreignissuer.Start(t, "127.0.0.1")
	issuer.Hang()
	b.keep("a", from(issuer))
	b.clock.Step(10 * time.Second)
	if state := b.keep("a", from(issuer))[0]; state.Pending {
		t.Errorf("got %+v, want it waited for no longer", state)
	}
}

func TestNothingIsFetchedBeforeStart(t *testing.T) {
	issuer := foreignissuer.Start(t, "127.0.0.1")
	issuer.Publish(t, newKey(t))
	keeper, err := foreign.New(foreign.Options{Addresses: func(netip.Addr) error { return nil }, Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keeper.Keep(policy("a"), []jwksource.Source{from(issuer)}); err != nil {
		t.Fatal(err)
	}
	if got := issuer.Asked(); got != 0 {
		t.Errorf("got %d requests", got)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- keeper.Start(ctx) }()
	<-keeper.Changed()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
