// Package storetest holds every implementation of store.Store to what package store promises. It knows no particular database.
package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// Open opens a Store. Of one Open, every Store is another view of the same database, as another process would have it; the test closes it.
type Open func() store.Store

// start is when these tests happen: a time with milliseconds, so that a store that loses them is caught.
var start = time.UnixMilli(1_800_000_000_123)

// Suite is an implementation to hold to the promises.
type Suite struct {
	// New makes an empty database.
	New func(t *testing.T) Open
	// Shared says that several processes may use one database, and tell each other of changes.
	Shared bool
}

// Run runs the suite.
func (suite Suite) Run(t *testing.T) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, Open)
	}{
		{"finds what was created, to the millisecond", findsWhatWasCreated},
		{"knows no session that was never created", knowsNoOther},
		{"keeps everything when it is opened again", keepsEverything},
		{"rotates once for one counter", rotatesOnce},
		{"never moves the end of access tokens back", neverMovesBack},
		{"extends only while the counter stands", extends},
		{"ends a session and revokes it in one step", ends},
		{"keeps what the device showed last", keepsTheDevice},
		{"lists the sessions of a user without their secrets", lists},
		{"ends all sessions of a user but one", endsAll},
		{"refuses a session too many when asked to", refuses},
		{"counts only living sessions before it refuses", refusesOnlyForLiving},
		{"counts within a window", counts},
		{"revokes nothing when the last access token has run out", revokesNothing},
		{"keeps the newest sessions of a user", keepsTheNewest},
		{"ends what lies behind the horizon before what is alive", endsDeadFirst},
		{"numbers revocations without going back", numbersRevocations},
		{"pages through revocations", pages},
		{"prunes what is over and nothing else", prunes},
		{"gives two databases two streams", twoStreams},
		{"lets one of 1,000 parallel rotations win", parallelRotations},
		{"respects the limit in 100 parallel creations", parallelCreations},
		{"ends a session once in 100 parallel attempts", parallelEnds},
		{"either rotates or ends a session, in whichever order", rotateAgainstEnd},
		{"shows revocations in the order of their numbers", orderOfNumbers},
		{"counts every one of 100 parallel hits", parallelCounts},
		{"refuses all but the limit of 100 parallel creations", parallelRefusals},
		{"creates and ends all of a user's sessions at once without a deadlock", parallelEverything},
		{"follows until it is told to stop", suite.follows},
		{"is made by ten processes at once", suite.madeByMany},
		{"moves the numbers ahead at each connection", movesAhead},
		{"sweeps many sessions a part at a time", sweeps},
		{"knows how many sessions there are, about", knowsHowMany},
		{"gives up when its context does", givesUp},
		{"rotates many sessions at once, each by its own verdict", rotatesManyAtOnce},
		{"finds many sessions at once, each its own", findsManyAtOnce},
		{"lets nobody pay for others who give up", givesUpAlone},
		{"never stands still while many rotate the same sessions", neverWaitsForEachOther},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, suite.New(t)) })
	}
}

func opened(t *testing.T, open Open) store.Store {
	t.Helper()
	s := open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func session(user string, created time.Time) store.Session {
	return store.Session{ID: store.NewSessionID(), User: user, Secret: store.NewSecret(), Counter: 1,
		CreatedAt: created, RotatedAt: created, AccessUntil: created.Add(5 * time.Minute).Truncate(time.Second)}
}

func to(at, accessUntil time.Time) store.Rotation {
	return store.Rotation{At: at, AccessUntil: accessUntil}
}

func create(t *testing.T, s store.Store, n store.Session) store.Session {
	t.Helper()
	if _, err := s.Create(t.Context(), n, store.Limit{Sessions: 1000}, store.Horizon{}); err != nil {
		t.Fatal(err)
	}
	return n
}

func find(t *testing.T, s store.Store, id store.SessionID) (store.Session, bool) {
	t.Helper()
	found, err := s.Find(t.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Session{}, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return found, true
}

func revocations(t *testing.T, s store.Store, after int64) []store.Revocation {
	t.Helper()
	found, err := s.Revocations(t.Context(), after, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func check(t *testing.T, what string, got bool, err error, want bool) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// sameSession compares sessions without printing secrets.
func sameSession(t *testing.T, got, want store.Session) {
	t.Helper()
	if got != want && (got.ID != want.ID || got.User != want.User || got.Secret != want.Secret || got.Counter != want.Counter ||
		!got.CreatedAt.Equal(want.CreatedAt) || !got.RotatedAt.Equal(want.RotatedAt) || !got.AccessUntil.Equal(want.AccessUntil)) {
		t.Errorf("session:\n got %+v\nwant %+v", got, want)
	}
}

func findsWhatWasCreated(t *testing.T, open Open) {
	s := opened(t, open)
	want := create(t, s, session("alice", start))
	create(t, s, session("alice", start))
	got, ok := find(t, s, want.ID)
	if !ok {
		t.Fatal("not found")
	}
	sameSession(t, got, want)
}

func knowsNoOther(t *testing.T, open Open) {
	s := opened(t, open)
	create(t, s, session("alice", start))
	stranger := store.NewSessionID()
	if _, ok := find(t, s, stranger); ok {
		t.Error("found a session that was never created")
	}
	ok, err := s.Rotate(t.Context(), stranger, 1, to(start, start))
	check(t, "rotate", ok, err, false)
	ok, err = s.Extend(t.Context(), stranger, 1, start)
	check(t, "extend", ok, err, false)
	ok, err = s.End(t.Context(), stranger, start)
	check(t, "end", ok, err, false)
}

func keepsEverything(t *testing.T, open Open) {
	first := open()
	kept, ended := session("alice", start), session("bob", start)
	create(t, first, kept)
	create(t, first, ended)
	ok, err := first.Rotate(t.Context(), kept.ID, 1, to(start.Add(time.Minute), kept.AccessUntil.Add(time.Minute)))
	check(t, "rotate", ok, err, true)
	ok, err = first.End(t.Context(), ended.ID, start)
	check(t, "end", ok, err, true)
	name, last, err := first.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err = first.Close(); err != nil {
		t.Fatal(err)
	}

	again := opened(t, open)
	kept.Counter, kept.RotatedAt, kept.AccessUntil = 2, start.Add(time.Minute), kept.AccessUntil.Add(time.Minute)
	got, ok := find(t, again, kept.ID)
	if !ok {
		t.Fatal("the session is gone")
	}
	sameSession(t, got, kept)
	if _, ok := find(t, again, ended.ID); ok {
		t.Error("the ended session is back")
	}
	gotName, gotLast, err := again.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if gotName != name || gotLast < last {
		t.Errorf("stream: got %s at %d, want %s at %d or later", gotName, gotLast, name, last)
	}
	if got, want := len(revocations(t, again, 0)), 1; got != want {
		t.Errorf("revocations: got %d, want %d", got, want)
	}
}

func rotatesOnce(t *testing.T, open Open) {
	s := opened(t, open)
	want := create(t, s, session("alice", start))
	until := want.AccessUntil.Add(time.Minute)
	ok, err := s.Rotate(t.Context(), want.ID, 1, to(start.Add(time.Minute), until))
	check(t, "first rotation", ok, err, true)
	ok, err = s.Rotate(t.Context(), want.ID, 1, to(start.Add(2*time.Minute), until.Add(time.Hour)))
	check(t, "second rotation from the same counter", ok, err, false)
	ok, err = s.Rotate(t.Context(), want.ID, 3, to(start.Add(2*time.Minute), until.Add(time.Hour)))
	check(t, "rotation from a counter to come", ok, err, false)
	want.Counter, want.RotatedAt, want.AccessUntil = 2, start.Add(time.Minute), until
	got, _ := find(t, s, want.ID)
	sameSession(t, got, want)
}

func neverMovesBack(t *testing.T, open Open) {
	s := opened(t, open)
	want := create(t, s, session("alice", start))
	ok, err := s.Rotate(t.Context(), want.ID, 1, to(start, want.AccessUntil.Add(-time.Minute)))
	check(t, "rotate", ok, err, true)
	ok, err = s.Extend(t.Context(), want.ID, 2, want.AccessUntil.Add(-time.Minute))
	check(t, "extend", ok, err, true)
	want.Counter = 2
	got, _ := find(t, s, want.ID)
	sameSession(t, got, want)
}

func extends(t *testing.T, open Open) {
	s := opened(t, open)
	want := create(t, s, session("alice", start))
	ok, err := s.Extend(t.Context(), want.ID, 2, want.AccessUntil.Add(time.Hour))
	check(t, "extend at another counter", ok, err, false)
	want.AccessUntil = want.AccessUntil.Add(time.Minute)
	ok, err = s.Extend(t.Context(), want.ID, 1, want.AccessUntil)
	check(t, "extend", ok, err, true)
	got, _ := find(t, s, want.ID)
	sameSession(t, got, want)
}

func ends(t *testing.T, open Open) {
	s := opened(t, open)
	n := create(t, s, session("alice", start))
	other := create(t, s, session("alice", start))
	ok, err := s.End(t.Context(), n.ID, start)
	check(t, "end", ok, err, true)
	ok, err = s.End(t.Context(), n.ID, start)
	check(t, "end again", ok, err, false)
	if _, ok := find(t, s, n.ID); ok {
		t.Error("the session is still there")
	}
	if _, ok := find(t, s, other.ID); !ok {
		t.Error("another session is gone")
	}
	_, last, err := s.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []store.Revocation{{Number: last, Session: n.ID, Until: n.AccessUntil.Add(revocation.Leeway)}}
	if diff := cmp.Diff(revocations(t, s, 0), want); diff != "" {
		t.Errorf("revocations (-got +want):\n%s", diff)
	}
}

func revokesNothing(t *testing.T, open Open) {
	s := opened(t, open)
	n := create(t, s, session("alice", start))
	ok, err := s.End(t.Context(), n.ID, n.AccessUntil.Add(revocation.Leeway))
	check(t, "end", ok, err, true)
	if got := revocations(t, s, 0); len(got) > 0 {
		t.Errorf("revoked what no token could use: %v", got)
	}
}

func keepsTheNewest(t *testing.T, open Open) {
	s := opened(t, open)
	var all []store.SessionID
	others := create(t, s, session("bob", start))
	for i := range 7 {
		n := session("alice", start.Add(time.Duration(i)*time.Second))
		ended, err := s.Create(t.Context(), n, store.Limit{Sessions: 3}, store.Horizon{})
		if err != nil {
			t.Fatal(err)
		}
		var want []store.SessionID
		if i >= 3 {
			want = all[i-3 : i-2]
		}
		if !slices.Equal(ended, want) {
			t.Errorf("sign-in %d ended %v, want %v", i, ended, want)
		}
		all = append(all, n.ID)
	}
	// A limit that was lowered is met by the next sign-in.
	n := session("alice", start.Add(time.Minute))
	ended, err := s.Create(t.Context(), n, store.Limit{Sessions: 1}, store.Horizon{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(ended), 3; got != want {
		t.Errorf("ended by the lowered limit: got %d, want %d", got, want)
	}
	if got, want := len(revocations(t, s, 0)), 7; got != want {
		t.Errorf("revocations: got %d, want %d", got, want)
	}
	for _, id := range []store.SessionID{others.ID, n.ID} {
		if _, ok := find(t, s, id); !ok {
			t.Error("ended a session that should have stayed")
		}
	}
}

func endsDeadFirst(t *testing.T, open Open) {
	s := opened(t, open)
	alive := create(t, s, session("alice", start))
	dead := create(t, s, session("alice", start.Add(time.Second)))
	now := start.Add(time.Hour)
	ok, err := s.Rotate(t.Context(), alive.ID, 1, to(now, now))
	check(t, "rotate", ok, err, true)
	ended, err := s.Create(t.Context(), session("alice", now), store.Limit{Sessions: 2}, store.Horizon{RotatedBefore: start.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if len(ended) > 0 {
		t.Errorf("ended %v although a session was over", ended)
	}
	if _, ok := find(t, s, alive.ID); !ok {
		t.Error("the session that was alive is gone")
	}
	if _, ok := find(t, s, dead.ID); ok {
		t.Error("the session that was over is still there")
	}
}

func numbersRevocations(t *testing.T, open Open) {
	s := opened(t, open)
	_, first, err := s.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for want := first + 1; want <= first+3; want++ {
		n := create(t, s, session("alice", start))
		if _, err := s.End(t.Context(), n.ID, start); err != nil {
			t.Fatal(err)
		}
		// Pruning away everything does not give a number out again.
		if _, _, err := s.Prune(t.Context(), store.Horizon{}, start.Add(time.Hour), 100); err != nil {
			t.Fatal(err)
		}
		_, last, err := s.Stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if last != want {
			t.Errorf("last number: got %d, want %d", last, want)
		}
	}
	if got := revocations(t, s, 0); len(got) != 0 {
		t.Errorf("pruning left %v", got)
	}
}

func pages(t *testing.T, open Open) {
	s := opened(t, open)
	_, first, err := s.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		n := create(t, s, session("alice", start))
		if _, err := s.End(t.Context(), n.ID, start); err != nil {
			t.Fatal(err)
		}
	}
	var got []int64
	for after := int64(0); ; {
		page, err := s.Revocations(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			got = append(got, r.Number-first)
			after = r.Number
		}
	}
	if want := []int64{1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("numbers: got %v, want %v", got, want)
	}
}

func prunes(t *testing.T, open Open) {
	s := opened(t, open)
	idle := create(t, s, session("alice", start))
	old := create(t, s, session("bob", start))
	alive := create(t, s, session("carol", start))
	now := start.Add(2 * time.Hour)
	ok, err := s.Rotate(t.Context(), alive.ID, 1, to(now, now))
	check(t, "rotate", ok, err, true)
	ok, err = s.Rotate(t.Context(), old.ID, 1, to(now, now.Add(time.Minute))) // an access token of it is still about
	check(t, "rotate", ok, err, true)

	h := store.Horizon{RotatedBefore: now.Add(-time.Hour)}
	sessions, _, err := s.Prune(t.Context(), h, now, 100)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sessions, 1; got != want {
		t.Errorf("pruned for idleness: got %d, want %d", got, want)
	}
	if _, ok := find(t, s, idle.ID); ok {
		t.Error("the idle session is still there")
	}

	h = store.Horizon{RotatedBefore: now.Add(time.Second)}
	if sessions, _, err = s.Prune(t.Context(), h, now.Add(revocation.Leeway+time.Second), 1); err != nil {
		t.Fatal(err)
	}
	if got, want := sessions, 1; got != want {
		t.Errorf("pruned at most one: got %d, want %d", got, want)
	}
	if _, ok := find(t, s, old.ID); !ok {
		t.Error("pruned a session whose access token is still valid")
	}
	if _, ok := find(t, s, alive.ID); ok {
		t.Error("the session behind the later horizon is still there")
	}
}

func twoStreams(t *testing.T, open Open) {
	s := opened(t, open)
	one, _, err := s.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(one) < 16 || len(one) > 64 {
		t.Errorf("name of the stream: got %q, want 16 to 64 characters", one)
	}
	again := opened(t, open)
	if two, _, err := again.Stream(t.Context()); err != nil || two != one {
		t.Errorf("the same database has two streams: %q and %q (%v)", one, two, err)
	}
}

// together runs do n times at once, spread over several stores of one database, and returns how often it reported true.
func together(t *testing.T, open Open, n int, do func(store.Store, int) (bool, error)) int {
	t.Helper()
	stores := []store.Store{opened(t, open), opened(t, open)}
	var won atomic.Int64
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-gate
			ok, err := do(stores[i%len(stores)], i)
			if err != nil {
				t.Errorf("attempt %d: %v", i, err)
			}
			if ok {
				won.Add(1)
			}
		})
	}
	close(gate)
	wg.Wait()
	return int(won.Load())
}

func parallelRotations(t *testing.T, open Open) {
	s := opened(t, open)
	n := create(t, s, session("alice", start))
	won := together(t, open, 1000, func(s store.Store, _ int) (bool, error) {
		return s.Rotate(t.Context(), n.ID, 1, to(start, start))
	})
	if got, want := won, 1; got != want {
		t.Errorf("winners: got %d, want %d", got, want)
	}
	got, _ := find(t, s, n.ID)
	if got, want := got.Counter, int64(2); got != want {
		t.Errorf("counter: got %d, want %d", got, want)
	}
}

func parallelCreations(t *testing.T, open Open) {
	const limit = 5
	s := opened(t, open)
	ids := make([]store.SessionID, 100)
	var ended atomic.Int64
	together(t, open, len(ids), func(s store.Store, i int) (bool, error) {
		n := session("alice", start.Add(time.Duration(i)*time.Millisecond))
		ids[i] = n.ID
		gone, err := s.Create(t.Context(), n, store.Limit{Sessions: limit}, store.Horizon{})
		ended.Add(int64(len(gone)))
		return true, err
	})
	left := 0
	for _, id := range ids {
		if _, ok := find(t, s, id); ok {
			left++
		}
	}
	if got, want := left, limit; got != want {
		t.Errorf("sessions left: got %d, want %d", got, want)
	}
	if got, want := int(ended.Load()), len(ids)-limit; got != want {
		t.Errorf("sessions ended: got %d, want %d", got, want)
	}
	if got, want := len(revocations(t, s, 0)), len(ids)-limit; got != want {
		t.Errorf("revocations: got %d, want %d", got, want)
	}
}

func parallelEnds(t *testing.T, open Open) {
	s := opened(t, open)
	n := create(t, s, session("alice", start))
	won := together(t, open, 100, func(s store.Store, _ int) (bool, error) { return s.End(t.Context(), n.ID, start) })
	if got, want := won, 1; got != want {
		t.Errorf("ended: got %d times, want %d", got, want)
	}
	if got, want := len(revocations(t, s, 0)), 1; got != want {
		t.Errorf("revocations: got %d, want %d", got, want)
	}
}

// A rotation that reports success before a session ends is covered by its revocation; one that comes later fails.
func rotateAgainstEnd(t *testing.T, open Open) {
	s := opened(t, open)
	for range 50 {
		n := create(t, s, session("alice", start))
		later := n.AccessUntil.Add(time.Minute)
		_, before, err := s.Stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var rotated bool
		var wg sync.WaitGroup
		wg.Go(func() {
			ok, err := s.Rotate(t.Context(), n.ID, 1, to(start, later))
			if err != nil {
				t.Error(err)
			}
			rotated = ok
		})
		wg.Go(func() {
			if ok, err := s.End(t.Context(), n.ID, start); err != nil || !ok {
				t.Errorf("end: got %v, %v", ok, err)
			}
		})
		wg.Wait()
		want := n.AccessUntil.Add(revocation.Leeway)
		if rotated {
			want = later.Add(revocation.Leeway)
		}
		got := revocations(t, s, before)
		if len(got) != 1 || got[0].Session != n.ID || !got[0].Until.Equal(want) {
			t.Fatalf("rotated %v, revocations %v, want one until %v", rotated, got, want)
		}
	}
}

// Whoever reads up to a number must not find a lower one afterwards: a follower would miss it.
func orderOfNumbers(t *testing.T, open Open) {
	const total = 100
	s := opened(t, open)
	ids := make([]store.SessionID, total)
	for i := range ids {
		ids[i] = create(t, s, session("alice", start)).ID
	}
	done := make(chan struct{})
	seen := map[store.SessionID]bool{}
	go func() {
		defer close(done)
		for after := int64(0); len(seen) < total && t.Context().Err() == nil; {
			found, err := s.Revocations(t.Context(), after, total)
			if err != nil {
				t.Error(err)
				return
			}
			for _, r := range found {
				seen[r.Session] = true
				after = r.Number
			}
			if all := revocations(t, s, 0); len(all) == total && all[total-1].Number == after {
				return // everything is there, and nothing comes any more
			}
		}
	}()
	together(t, open, total, func(s store.Store, i int) (bool, error) { return s.End(t.Context(), ids[i], start) })
	<-done
	if got, want := len(seen), total; got != want {
		t.Errorf("a follower saw %d of %d revocations", got, want)
	}
}

func givesUp(t *testing.T, open Open) {
	s := opened(t, open)
	n := create(t, s, session("alice", start))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.End(ctx, n.ID, start); err == nil {
		t.Error("ended a session for nobody")
	}
	if _, err := s.Find(ctx, n.ID); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("find: got %v, want the context's error", err)
	}
	if _, ok := find(t, s, n.ID); !ok {
		t.Error("the session is gone")
	}
}
