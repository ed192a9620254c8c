package sidecar

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// sweepEvery is how often exchanges are looked at: often enough that one ends within a second of its token.
const sweepEvery = 250 * time.Millisecond

// watch knows all exchanges and ends those that must not go on: whose token has ended, that a new policy refuses, or in which one side lets
// the other wait too long. An exchange that ends by itself before the next sweep has cost it two entries in a list.
type watch struct {
	tick    atomic.Int64 // Unix nanoseconds of the last sweep: the only clock that exchanges read
	shelves [8]shelf     // several, so that processors do not wait for each other
}

// shelf is a list of exchanges.
type shelf struct {
	mu    sync.Mutex
	first *exchange
	_     [48]byte // a cache line each
}

func (w *watch) enter(e *exchange) {
	e.shelf = &w.shelves[rand.Uint32N(uint32(len(w.shelves)))] //nolint:gosec // any will do
	e.waiting.Store(w.tick.Load())
	s := e.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	e.next = s.first
	if e.next != nil {
		e.next.prev = e
	}
	s.first = e
}

// leave ends the watch over e. Nobody touches it after that.
func (w *watch) leave(e *exchange) {
	s := e.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		s.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.gone = true
}

// watchOver sweeps until ctx ends.
func (s *sidecar) watchOver(ctx context.Context) {
	impatient, cancel := context.WithCancel(ctx)
	cancel() // who judges under it asks no foreign issuer about a key: all the others would wait as well
	ticks := time.NewTicker(sweepEvery)
	defer ticks.Stop()
	for {
		select {
		case now := <-ticks.C:
			s.sweep(impatient, now)
		case <-ctx.Done():
			return
		}
	}
}

func (s *sidecar) sweep(ctx context.Context, now time.Time) {
	s.watch.tick.Store(now.UnixNano())
	s.pace.Keep()
	s.lobby.sweep(now)
	current := s.current.Load()
	if current != nil {
		current.app.sweep(now)
	}
	for i := range s.watch.shelves {
		for _, e := range s.watch.shelves[i].sweep(now, current) {
			e.judgeAgain(ctx, current, now)
		}
	}
}

// sweep ends what is due and returns what was allowed by another snapshot than the current one.
func (s *shelf) sweep(now time.Time, current *snapshot) (outdated []*exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.first; e != nil; e = e.next {
		if e.line != nil && e.line.Gone() {
			e.hungUp.Store(true)
			e.cancel(context.Canceled)
		}
		if e.ended != nil {
			e.force()
		} else if why := e.due(now); why != nil {
			e.end(why)
		} else if e.judged != current {
			e.shown = true
			outdated = append(outdated, e)
		}
	}
	return outdated
}

// stays has an exchange wait with its end, and reports whether it has not come to that yet.
func (e *exchange) stays() bool {
	e.shelf.mu.Lock()
	defer e.shelf.mu.Unlock()
	if !e.gone {
		e.again.Add(1)
	}
	return !e.gone
}

// cancel ends all exchanges. The sidecar goes.
func (w *watch) cancel() {
	for i := range w.shelves {
		s := &w.shelves[i]
		s.mu.Lock()
		for e := s.first; e != nil; e = e.next {
			e.cancel(context.Canceled)
		}
		s.mu.Unlock()
	}
}

// judgeAgain asks a snapshot that came into force meanwhile. A signature may have to be verified, so the shelf is not locked for it.
func (e *exchange) judgeAgain(ctx context.Context, current *snapshot, now time.Time) {
	if !e.stays() {
		return
	}
	defer e.again.Done()
	verdict := current.gate.Judge(e.request.WithContext(ctx), e.path, now)
	e.shelf.mu.Lock()
	defer e.shelf.mu.Unlock()
	switch {
	case e.gone:
	case !verdict.Allow:
		e.end(&ending{verdict})
	case e.caller != nil && verdict.Caller == nil && !current.gate.Audits(): // everybody may do this, but the app took them for somebody
		e.end(withdrawn(reasonTokenRefused, e.caller))
	default:
		e.judged = current
		if e.caller != nil {
			e.caller = verdict.Caller // whose token's fate it shares: as the new keys and the new skew have it
		}
	}
}
