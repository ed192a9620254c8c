package storetest

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

func keepsTheDevice(t *testing.T, open Open) {
	s := opened(t, open)
	n := session("alice", start)
	n.Device = store.Device{Address: "2001:db8::1", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0 'Zürich'"}
	n.Data = `{"scope":"read","note":"\u0000"}`
	want := create(t, s, n)
	got, _ := find(t, s, n.ID)
	sameSession(t, got, want)

	want.Counter, want.RotatedAt, want.Device = 2, start.Add(time.Minute), store.Device{Address: "192.0.2.1", UserAgent: "other"}
	ok, err := s.Rotate(t.Context(), n.ID, 1, store.Rotation{At: want.RotatedAt, AccessUntil: want.AccessUntil, Device: want.Device})
	check(t, "rotate", ok, err, true)
	ok, err = s.Rotate(t.Context(), n.ID, 1, store.Rotation{At: want.RotatedAt, AccessUntil: want.AccessUntil, Device: store.Device{Address: "loser"}})
	check(t, "rotate again", ok, err, false)
	got, _ = find(t, s, n.ID)
	sameSession(t, got, want)
}

func lists(t *testing.T, open Open) {
	s := opened(t, open)
	var want []store.Session
	for i := range 3 {
		n := session("alice", start.Add(time.Duration(i)*time.Second))
		n.Device = store.Device{Address: "192.0.2.1", UserAgent: "agent"}
		n.Data = "data"
		create(t, s, n)
		n.Secret = store.Secret{}
		want = slices.Insert(want, 0, n)
	}
	create(t, s, session("alice ", start))
	create(t, s, session("Alice", start))
	got, err := s.List(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("got %d sessions, want %d", len(got), len(want))
	}
	for i := range want {
		sameSession(t, got[i], want[i])
	}
	if got, err := s.List(t.Context(), "nobody"); err != nil || len(got) > 0 {
		t.Errorf("sessions of nobody: got %v, %v", got, err)
	}
}

func endsAll(t *testing.T, open Open) {
	s := opened(t, open)
	var own []store.SessionID
	for i := range 4 {
		own = append(own, create(t, s, session("alice", start.Add(time.Duration(i)*time.Second))).ID)
	}
	other := create(t, s, session("bob", start))
	ended, err := s.EndAll(t.Context(), "alice", own[1], start)
	if err != nil {
		t.Fatal(err)
	}
	if want := []store.SessionID{own[3], own[2], own[0]}; !slices.Equal(ended, want) {
		t.Errorf("ended: got %v, want %v", ended, want)
	}
	for id, want := range map[store.SessionID]bool{own[0]: false, own[1]: true, own[2]: false, own[3]: false, other.ID: true} {
		if _, got := find(t, s, id); got != want {
			t.Errorf("session %v: found %v, want %v", id, got, want)
		}
	}
	if got, want := len(revocations(t, s, 0)), 3; got != want {
		t.Errorf("revocations: got %d, want %d", got, want)
	}
	if ended, err = s.EndAll(t.Context(), "alice", store.SessionID{}, start); err != nil || !slices.Equal(ended, own[1:2]) {
		t.Errorf("ended the rest: got %v, %v, want %v", ended, err, own[1:2])
	}
	if ended, err = s.EndAll(t.Context(), "alice", store.SessionID{}, start); err != nil || len(ended) > 0 {
		t.Errorf("ended nothing: got %v, %v", ended, err)
	}
}

func refuses(t *testing.T, open Open) {
	s := opened(t, open)
	limit := store.Limit{Sessions: 2, Refuse: true}
	for range 2 {
		if ended, err := s.Create(t.Context(), session("alice", start), limit, store.Horizon{}); err != nil || len(ended) > 0 {
			t.Fatalf("within the limit: got %v, %v", ended, err)
		}
	}
	n := session("alice", start)
	if ended, err := s.Create(t.Context(), n, limit, store.Horizon{}); !errors.Is(err, store.ErrLimit) || len(ended) > 0 {
		t.Errorf("beyond the limit: got %v, %v, want ErrLimit", ended, err)
	}
	if _, ok := find(t, s, n.ID); ok {
		t.Error("the refused session is there")
	}
	if got := revocations(t, s, 0); len(got) > 0 {
		t.Errorf("the refusal revoked %v", got)
	}
	if got, err := s.List(t.Context(), "alice"); err != nil || len(got) != 2 {
		t.Errorf("sessions: got %d, %v, want 2", len(got), err)
	}
}

func refusesOnlyForLiving(t *testing.T, open Open) {
	s := opened(t, open)
	create(t, s, session("alice", start))
	now := start.Add(time.Hour)
	h := store.Horizon{CreatedBefore: start.Add(time.Minute)}
	if _, err := s.Create(t.Context(), session("alice", now), store.Limit{Sessions: 1, Refuse: true}, h); err != nil {
		t.Errorf("got %v, want the session that is over to make room", err)
	}
	if got, err := s.List(t.Context(), "alice"); err != nil || len(got) != 1 {
		t.Errorf("sessions: got %d, %v, want 1", len(got), err)
	}
}

func parallelRefusals(t *testing.T, open Open) {
	const limit = 5
	s := opened(t, open)
	won := together(t, open, 100, func(s store.Store, _ int) (bool, error) {
		_, err := s.Create(t.Context(), session("alice", start), store.Limit{Sessions: limit, Refuse: true}, store.Horizon{})
		if errors.Is(err, store.ErrLimit) {
			return false, nil
		}
		return true, err
	})
	if got, want := won, limit; got != want {
		t.Errorf("created: got %d, want %d", got, want)
	}
	if got, err := s.List(t.Context(), "alice"); err != nil || len(got) != limit {
		t.Errorf("sessions: got %d, %v, want %d", len(got), err, limit)
	}
}

// Whoever ends several sessions locks several rows; nobody may wait for one who waits.
func parallelEverything(t *testing.T, open Open) {
	s := opened(t, open)
	var created, ended atomic.Int64
	together(t, open, 200, func(s store.Store, i int) (bool, error) {
		var gone []store.SessionID
		var err error
		switch i % 4 {
		case 0, 1:
			gone, err = s.Create(t.Context(), session("alice", start.Add(time.Duration(i)*time.Second)), store.Limit{Sessions: 5}, store.Horizon{})
			created.Add(1)
		case 2:
			gone, err = s.EndAll(t.Context(), "alice", store.SessionID{}, start)
		case 3:
			var all []store.Session
			if all, err = s.List(t.Context(), "alice"); err == nil && len(all) > 0 {
				var ok bool
				if ok, err = s.End(t.Context(), all[len(all)-1].ID, start); ok {
					gone = []store.SessionID{all[len(all)-1].ID}
				}
			}
		}
		ended.Add(int64(len(gone)))
		return true, err
	})
	left, err := s.List(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := int64(len(left)), created.Load()-ended.Load(); got != want {
		t.Errorf("sessions left: got %d, want the %d created less the %d ended", got, created.Load(), ended.Load())
	}
	if got, want := len(revocations(t, s, 0)), int(ended.Load()); got != want {
		t.Errorf("revocations: got %d, want %d, one for each session", got, want)
	}
}

func counts(t *testing.T, open Open) {
	one, two := opened(t, open), opened(t, open)
	key, other := store.CounterKey{1}, store.CounterKey{2}
	hit := func(s store.Store, key store.CounterKey, now time.Time, want int, wantUntil time.Time) {
		t.Helper()
		got, until, err := s.Count(t.Context(), key, time.Minute, now)
		if err != nil {
			t.Fatal(err)
		}
		if got != want || !until.Equal(wantUntil) {
			t.Errorf("got %d until %v, want %d until %v", got, until, want, wantUntil)
		}
	}
	hit(one, key, start, 1, start.Add(time.Minute))
	hit(two, key, start.Add(time.Second), 2, start.Add(time.Minute))
	hit(one, other, start.Add(time.Second), 1, start.Add(time.Minute+time.Second))
	hit(one, key, start.Add(time.Minute-time.Millisecond), 3, start.Add(time.Minute))
	hit(two, key, start.Add(time.Minute), 1, start.Add(2*time.Minute))
	uncount := func(s store.Store, key store.CounterKey, now time.Time) {
		t.Helper()
		if err := s.Uncount(t.Context(), key, now); err != nil {
			t.Fatal(err)
		}
	}
	hit(one, key, start.Add(time.Minute), 2, start.Add(2*time.Minute))
	uncount(two, key, start.Add(time.Minute))
	hit(one, key, start.Add(time.Minute+time.Second), 2, start.Add(2*time.Minute))
	for range 3 { // never below nothing
		uncount(one, key, start.Add(time.Minute))
	}
	hit(two, key, start.Add(time.Minute), 1, start.Add(2*time.Minute))
	uncount(one, key, start.Add(2*time.Minute)) // of a window that is over
	uncount(one, store.CounterKey{3}, start)    // what was never counted
	hit(two, key, start.Add(time.Minute), 2, start.Add(2*time.Minute))
	hit(two, store.CounterKey{3}, start, 1, start.Add(time.Minute))
	if _, _, err := one.Prune(t.Context(), store.Horizon{}, start.Add(time.Hour), 10); err != nil {
		t.Fatal(err)
	}
	hit(one, key, start.Add(time.Hour), 1, start.Add(time.Hour+time.Minute))
}

func parallelCounts(t *testing.T, open Open) {
	seen := make([]bool, 100)
	var mu sync.Mutex
	together(t, open, len(seen), func(s store.Store, _ int) (bool, error) {
		hits, _, err := s.Count(t.Context(), store.CounterKey{1}, time.Minute, start)
		mu.Lock()
		defer mu.Unlock()
		if err == nil && (hits < 1 || hits > len(seen) || seen[hits-1]) {
			t.Errorf("counted %d twice, or beyond the number of hits", hits)
		} else if err == nil {
			seen[hits-1] = true
		}
		return true, err
	})
}

func sweeps(t *testing.T, open Open) {
	s := opened(t, open)
	const total, batch = 250, 100
	for i := range total {
		create(t, s, session(string(rune('a'+i%26)), start))
	}
	alive := create(t, s, session("zoe", start.Add(time.Hour)))
	swept := 0
	for range 20 {
		sessions, _, err := s.Prune(t.Context(), store.Horizon{CreatedBefore: start.Add(time.Minute)}, start.Add(time.Hour), batch)
		if err != nil {
			t.Fatal(err)
		}
		if sessions > batch {
			t.Errorf("one sweep deleted %d, want at most %d", sessions, batch)
		}
		swept += sessions
	}
	if got, want := swept, total; got != want {
		t.Errorf("swept: got %d, want %d", got, want)
	}
	if _, ok := find(t, s, alive.ID); !ok {
		t.Error("swept a session that is alive")
	}
	if got, err := s.List(t.Context(), "a"); err != nil || len(got) > 0 {
		t.Errorf("a swept session is still listed: %v, %v", got, err)
	}
}

func knowsHowMany(t *testing.T, open Open) {
	s := opened(t, open)
	counted := func() int {
		t.Helper()
		got, err := s.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for want := range 3 {
		if got := counted(); got != want {
			t.Errorf("sessions: got %d, want %d", got, want)
		}
		create(t, s, session("zoe", start))
	}
	ended, err := s.EndAll(t.Context(), "zoe", store.SessionID{}, start)
	if err != nil || len(ended) != 3 {
		t.Fatalf("ended %v, %v", ended, err)
	}
	if got := counted(); got != 0 {
		t.Errorf("sessions after the last has ended: got %d, want 0", got)
	}
	const many = store.Sample * 3 / 2
	Fill(t, s, many)
	if got := counted(); got < many*4/5 || got > many*6/5 {
		t.Errorf("sessions: got %d, want about %d", got, many)
	}
}
