package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// patience is how long a test waits for what must come. It is no measure of how fast it should come.
const patience = 30 * time.Second

func revoke(t *testing.T, s store.Store, r store.Revocation, want bool) {
	t.Helper()
	ok, err := s.Revoke(t.Context(), r)
	check(t, "revoke", ok, err, want)
}

// unnumbered checks which revocations there are, in order.
func unnumbered(t *testing.T, s store.Store, want ...store.Revocation) {
	t.Helper()
	got := revocations(t, s, 0)
	for i := range got {
		got[i].Number = 0
	}
	if diff := cmp.Diff(got, want, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("revocations (-got +want):\n%s", diff)
	}
}

func revokesATokenOnce(t *testing.T, open Open) {
	s := opened(t, open)
	until := start.Truncate(time.Second).Add(time.Minute)
	one := store.Revocation{Kind: revocation.KindToken, Value: "one", Until: until}
	sameText := store.Revocation{Kind: revocation.KindSubject, Value: "one", Before: until, Until: until}
	revoke(t, s, one, true)
	revoke(t, s, one, false)
	revoke(t, s, sameText, true)
	unnumbered(t, s, one, sameText)
	if _, _, err := s.Prune(t.Context(), store.Horizon{}, until, 10); err != nil {
		t.Fatal(err)
	}
	unnumbered(t, s)
	revoke(t, s, one, true)
	unnumbered(t, s, one)
}

func movesTheWatermark(t *testing.T, open Open) {
	s := opened(t, open)
	at := start.Truncate(time.Second)
	mark := func(before, until time.Duration) store.Revocation {
		return store.Revocation{Kind: revocation.KindSubject, Value: "alice: a name with spaces", Before: at.Add(before), Until: at.Add(until)}
	}
	revoke(t, s, mark(0, time.Minute), true)
	revoke(t, s, mark(time.Second, 2*time.Minute), true)
	unnumbered(t, s, mark(time.Second, 2*time.Minute))
	revoke(t, s, mark(0, time.Minute), false)
	unnumbered(t, s, mark(time.Second, 2*time.Minute))
	// Each end is the later of the two.
	revoke(t, s, mark(0, 3*time.Minute), true)
	unnumbered(t, s, mark(time.Second, 3*time.Minute))
}

func (suite Suite) follows(t *testing.T, open Open) {
	here, there := opened(t, open), opened(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		here.Follow(ctx, func() {
			select {
			case told <- struct{}{}:
			default:
			}
		})
	}()
	n := create(t, there, session("alice", start))
	if _, err := there.End(t.Context(), n.ID, start); err != nil {
		t.Fatal(err)
	}
	if suite.Shared {
		// What was revoked while the follower was still setting up, it must be told as well: it tells as soon as it listens.
		select {
		case <-told:
		case <-time.After(patience):
			t.Error("was told of nothing")
		}
		if got, want := len(revocations(t, here, 0)), 1; got != want {
			t.Errorf("revocations: got %d, want %d", got, want)
		}
	}
	cancel()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("follows on after its context is done")
	}
}

// What was lost with the end of a database, nobody knows; but it is past.
func movesAhead(t *testing.T, open Open) {
	_, last, err := opened(t, open).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if now := time.Now().UnixMicro(); last < now-patience.Microseconds() || last > now {
		t.Errorf("the last number of a new database: got %d, want about the %d microseconds since 1970", last, now)
	}
	_, next, err := opened(t, open).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if next <= last {
		t.Errorf("the last number is %d for one process and then %d for another, want it to move ahead", last, next)
	}
}

func (suite Suite) madeByMany(t *testing.T, open Open) {
	if !suite.Shared {
		t.Skip("one process has it for itself")
	}
	const processes = 10
	names := make([]string, processes)
	var wg sync.WaitGroup
	for i := range names {
		s := opened(t, open)
		wg.Go(func() {
			var err error
			if names[i], _, err = s.Stream(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, name := range names {
		if name != names[0] {
			t.Errorf("streams: got %v, want one", names)
		}
	}
}
