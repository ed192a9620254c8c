package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// Stores may do what is asked at the same time in one go. Nobody shall notice.

// rotatesManyAtOnce lets every session be rotated twice at a time through two views, some of them with a counter that is not theirs, beside one that no database can
// rotate and some that are not there.
func rotatesManyAtOnce(t *testing.T, open Open) {
	views := []store.Store{opened(t, open), opened(t, open)}
	const sessions, rounds = 60, 5
	all := make([]store.Session, sessions)
	for i := range all {
		all[i] = session(fmt.Sprintf("user %d", i), start)
		if i%10 == 7 {
			all[i].Counter = math.MaxInt64 // there is no next one
		}
		if i%10 != 8 { // that one is not there
			create(t, views[0], all[i])
		}
	}
	for round := range int64(rounds) {
		won := make([]atomic.Int64, sessions)
		begin := make(chan struct{})
		var wg sync.WaitGroup
		for i, each := range all {
			for _, view := range views {
				wg.Go(func() {
					<-begin
					counter := 1 + round
					switch i % 10 {
					case 7:
						counter = math.MaxInt64
					case 9:
						counter = 77
					}
					rotate := func() (bool, error) {
						return view.Rotate(t.Context(), each.ID, counter, to(start.Add(time.Duration(round)*time.Second), start))
					}
					ok, err := rotate()
					for i%10 != 7 && errors.Is(err, store.ErrUnavailable) { // while the last operation failed, as one does here, few may try at a time
						ok, err = rotate()
					}
					if err != nil && i%10 != 7 {
						t.Errorf("session %d, round %d: %v", i, round, err)
					}
					if ok {
						won[i].Add(1)
					}
				})
			}
		}
		close(begin)
		wg.Wait()
		for i, each := range all {
			want, there, counter := int64(1), true, 2+round
			switch i % 10 {
			case 7:
				continue // whatever it says of this one, the others do not pay for it
			case 8:
				want, there = 0, false
			case 9:
				want, counter = 0, 1
			}
			if got := won[i].Load(); got != want {
				t.Errorf("session %d, round %d: %d rotations won, want %d", i, round, got, want)
			}
			found, ok := find(t, views[round%2], each.ID)
			if ok != there || ok && found.Counter != counter {
				t.Errorf("session %d, round %d: found %v with counter %d, want %v with %d", i, round, ok, found.Counter, there, counter)
			}
		}
	}
}

// findsManyAtOnce looks for sessions of which every third is not there.
func findsManyAtOnce(t *testing.T, open Open) {
	s := opened(t, open)
	const sessions = 90
	all := make([]store.Session, sessions)
	for i := range all {
		all[i] = session(fmt.Sprintf("user %d", i), start)
		if i%3 > 0 {
			create(t, s, all[i])
		}
	}
	var wg sync.WaitGroup
	for i, want := range all {
		for range 3 {
			wg.Go(func() {
				got, err := s.Find(t.Context(), want.ID)
				switch {
				case i%3 == 0 && !errors.Is(err, store.ErrNotFound):
					t.Errorf("session %d: got %v, want ErrNotFound", i, err)
				case i%3 > 0 && err != nil:
					t.Errorf("session %d: %v", i, err)
				case i%3 > 0:
					sameSession(t, got, want)
				}
			})
		}
	}
	wg.Wait()
}

// givesUpAlone lets some callers hang up among many, who get what they asked for.
func givesUpAlone(t *testing.T, open Open) {
	s := opened(t, open)
	const sessions = 60
	all := make([]store.Session, sessions)
	for i := range all {
		all[i] = create(t, s, session(fmt.Sprintf("user %d", i), start))
	}
	patient := t.Context()
	impatient, hangUp := context.WithCancel(patient)
	defer hangUp()
	var wg sync.WaitGroup
	for i, each := range all {
		wg.Go(func() {
			if i == sessions/2 {
				hangUp()
			}
			if i%4 == 0 {
				_, _ = s.Rotate(impatient, each.ID, 1, to(start, start)) // whatever it says
				return
			}
			if ok, err := s.Rotate(patient, each.ID, 1, to(start, start)); err != nil || !ok {
				t.Errorf("session %d: got %v, %v, want it rotated", i, ok, err)
			}
		})
	}
	wg.Wait()
	for i, each := range all {
		found, ok := find(t, s, each.ID)
		if !ok || found.Counter > 2 || i%4 > 0 && found.Counter != 2 {
			t.Errorf("session %d: found %v with counter %d", i, ok, found.Counter)
		}
	}
}

// neverWaitsForEachOther rotates the same sessions in opposite orders through two views, while others end some: what waits for each other would stand still.
func neverWaitsForEachOther(t *testing.T, open Open) {
	views := []store.Store{opened(t, open), opened(t, open)}
	const sessions, rounds = 40, 10
	all := make([]store.Session, sessions)
	for i := range all {
		all[i] = create(t, views[0], session("alice", start.Add(time.Duration(i)*time.Second)))
	}
	for round := range int64(rounds) {
		var wg sync.WaitGroup
		for i := range all {
			for v, view := range views {
				each := all[i]
				if v == 1 {
					each = all[sessions-1-i]
				}
				wg.Go(func() {
					if _, err := view.Rotate(t.Context(), each.ID, 1+round, to(start, start)); err != nil {
						t.Errorf("rotate: %v", err)
					}
				})
			}
		}
		if round == rounds-1 {
			wg.Go(func() {
				if _, err := views[0].EndAll(t.Context(), "alice", all[0].ID, start); err != nil {
					t.Errorf("end all: %v", err)
				}
			})
		}
		wg.Wait()
	}
	for i, each := range all {
		if _, ok := find(t, views[1], each.ID); ok != (i == 0) {
			t.Errorf("session %d: found %v", i, ok)
		}
	}
}
