package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// Server is the database's process, which can be hurt.
type Server interface {
	Start()
	Kill()   // with no warning
	Freeze() // as a machine that hangs: connections stay open, and nobody answers
	Thaw()
}

// RunOutages holds a store that is reached through a network to what it promises while its server is away. open opens a view of a database of
// that server's, which is empty.
func RunOutages(t *testing.T, server Server, open Open) {
	s := opened(t, open)
	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"a server that hangs", server.Freeze, server.Thaw},
		{"a server that is killed", server.Kill, server.Start},
	} {
		t.Run("is said to be unavailable, and is back by itself, after "+outage.name, func(t *testing.T) {
			n := create(t, s, session("alice", start))
			outage.begin()
			unavailable(t, s, n.ID)
			outage.end()
			await(t, s)
			got, ok := find(t, s, n.ID)
			if !ok {
				t.Fatal("the session is gone")
			}
			sameSession(t, got, n)
			rotated, err := s.Rotate(t.Context(), n.ID, 1, to(start, start))
			check(t, "rotate", rotated, err, true)
		})
	}
	t.Run("keeps every rotation that it reported when the server is killed", func(t *testing.T) { killedRotations(t, server, s) })
	t.Run("ends sessions whole or not at all when the server is killed", func(t *testing.T) { killedEnds(t, server, s) })
}

// unavailable checks that nobody waits long, however many ask.
func unavailable(t *testing.T, s store.Store, id store.SessionID) {
	t.Helper()
	const total, bound = 500, 15 * time.Second
	began := time.Now()
	var wg sync.WaitGroup
	for range total {
		wg.Go(func() {
			if _, err := s.Find(t.Context(), id); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("find: got %v, want ErrUnavailable", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > bound {
		t.Errorf("%d requests took %v to be refused, want at most %v", total, took, bound)
	}
	// One more of each kind; none mistakes an outage for a session that has ended.
	for doing, do := range map[string]func() error{
		"rotate": func() error { _, err := s.Rotate(t.Context(), id, 1, to(start, start)); return err },
		"end":    func() error { _, err := s.End(t.Context(), store.NewSessionID(), start); return err },
		"list":   func() error { _, err := s.List(t.Context(), "alice"); return err },
		"create": func() error {
			_, err := s.Create(t.Context(), session("bob", start), store.Limit{Sessions: 1}, store.Horizon{})
			return err
		},
	} {
		wg.Go(func() {
			if err := do(); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: got %v, want ErrUnavailable", doing, err)
			}
		})
	}
	wg.Wait()
}

// await waits until the store answers again.
func await(t *testing.T, s store.Store) {
	t.Helper()
	late := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		_, _, err := s.Stream(t.Context())
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("the store does not come back: %v", err)
		}
	}
}

// soon kills the server at a random moment, and returns how to wait until that is done.
func soon(server Server, within time.Duration) (wait func()) {
	done := make(chan struct{})
	time.AfterFunc(rand.N(within), func() { server.Kill(); close(done) }) //nolint:gosec // nobody guesses against a test
	return func() { <-done }
}

func killedRotations(t *testing.T, server Server, s store.Store) {
	n := create(t, s, session("alice", start))
	counter, unknown := int64(1), 0
	for range 8 {
		wait := soon(server, 150*time.Millisecond)
		for {
			ok, err := s.Rotate(t.Context(), n.ID, counter, to(start, start))
			if err != nil {
				break // whether it was done, nobody knows
			}
			check(t, "rotate", ok, err, true)
			counter++
		}
		wait()
		server.Start()
		await(t, s)
		got, ok := find(t, s, n.ID)
		if !ok {
			t.Fatal("the session is gone")
		}
		switch got.Counter {
		case counter:
		case counter + 1:
			unknown++
		default:
			t.Fatalf("counter: got %d, want %d, which was reported, or one more", got.Counter, counter)
		}
		counter = got.Counter
	}
	t.Logf("%d rotations; %d of 8 kills came between a rotation and its answer", counter-1, unknown)
	if counter < 8 {
		t.Errorf("only %d rotations: nothing was tried", counter-1)
	}
}

func killedEnds(t *testing.T, server Server, s store.Store) {
	seen := map[int64]store.SessionID{} // what a follower was told under each number
	whole, untouched := 0, 0
	for round := range 6 {
		wait := soon(server, 100*time.Millisecond)
		user := fmt.Sprintf("user %d", round)
		ended := map[store.SessionID]bool{} // whether it was reported
		for {
			n := session(user, start)
			if _, err := s.Create(t.Context(), n, store.Limit{Sessions: 1000}, store.Horizon{}); err != nil {
				break
			}
			ok, err := s.End(t.Context(), n.ID, start)
			ended[n.ID] = err == nil && ok
			if err != nil {
				break
			}
		}
		wait()
		server.Start()
		await(t, s)
		revoked := map[store.SessionID]bool{}
		for _, r := range allRevocations(t, s) {
			if told, known := seen[r.Number]; known && told != r.Session {
				t.Fatalf("number %d was given out twice", r.Number)
			}
			seen[r.Number], revoked[r.Session] = r.Session, true
		}
		for id, reported := range ended {
			_, there := find(t, s, id)
			switch {
			case !there && revoked[id]:
				whole++
			case there && !revoked[id] && !reported:
				untouched++
			default:
				t.Fatalf("session found %v, revoked %v, reported as ended %v", there, revoked[id], reported)
			}
		}
	}
	t.Logf("%d ended, %d as before", whole, untouched)
}

func allRevocations(t *testing.T, s store.Store) (all []store.Revocation) {
	t.Helper()
	for after := int64(0); ; {
		page := revocations(t, s, after)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = page[len(page)-1].Number
	}
}
