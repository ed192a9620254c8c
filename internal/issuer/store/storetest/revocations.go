package storetest

import (
	"context"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. It is no measure of how fast it should come.
const patience = time.Minute

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
