package revocation

import (
	"container/heap"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultLimit bounds a Set: 100,000 entries take about 20 MiB, and with access tokens of five minutes are 270 logouts a second.
const DefaultLimit = 100_000

// Position is how far a Set has followed which stream.
type Position struct {
	Stream string // empty: none yet
	Number int64  // of the last entry applied; 0: none yet
}

// Set holds the entries of one token service that are in force. Asking takes no lock, so it may happen on every request; applying,
// pruning and encoding may go on at the same time.
//
// Whatever is forgotten, no revoked token comes back. A Set that is full forgets the entry that runs out first, and from then on revokes every
// token that expires no later than that entry would have: somebody who floods the stream makes others refresh a little early. An entry that
// has run out is forgotten in the same way, less the Leeway: by then these tokens have all expired, unless the clock was wrong and is set back.
type Set struct {
	limit   int
	revoked sync.Map     // hash -> *item
	floor   atomic.Int64 // Unix seconds: tokens that expire by then are revoked, whoever's they are
	whole   atomic.Int64 // Unix nanoseconds: everything up to then is in the set; 0: never yet

	mu       sync.Mutex // guards what follows, and all writing
	position Position
	queue    queue
}

// NewSet returns an empty Set that holds at most limit entries. A limit below 1 means DefaultLimit.
func NewSet(limit int) *Set {
	if limit < 1 {
		limit = DefaultLimit
	}
	return &Set{limit: limit}
}

// Revoked reports whether a token is revoked whose session has this hash (see SessionHash) and whose exp is expires.
func (s *Set) Revoked(hash string, expires time.Time) bool {
	// In this order: an entry is forgotten only after the floor has risen to cover it.
	if _, found := s.revoked.Load(hash); found {
		return true
	}
	return expires.Unix() <= s.floor.Load()
}

// Confirm says that at this time the set held everything that its token service had revoked.
func (s *Set) Confirm(at time.Time) { s.whole.Store(at.UnixNano()) }

// Confirmed is when the set last held everything that its token service had revoked; the zero time: never, so far as anybody knows.
func (s *Set) Confirmed() time.Time {
	at := s.whole.Load()
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// Apply takes in one entry of the stream and forgets the entries that have run out by now. An entry that was applied before changes
// nothing, so what is sent twice does no harm. On an error nothing has changed.
func (s *Set) Apply(e Entry, now time.Time) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("revocation %d: %w", e.Number, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Number <= s.position.Number {
		return nil
	}
	s.position.Number = e.Number
	s.prune(now)
	s.add(e)
	return nil
}

// Reset makes the Set follow another stream, or the same one again from its start. Entries stay in force.
func (s *Set) Reset(stream string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position = Position{Stream: stream}
}

// Position returns where the Set is; a follower asks for what comes after it.
func (s *Set) Position() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position
}

// Prune forgets the entries that have run out by now, and returns how many those were.
func (s *Set) Prune(now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prune(now)
}

// Len is how many entries the Set holds.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

func (s *Set) prune(now time.Time) int {
	forgotten := 0
	for len(s.queue) > 0 && !s.queue[0].Until.After(now) {
		s.raise(s.queue[0].Until.Add(-Leeway))
		s.drop()
		forgotten++
	}
	return forgotten
}

func (s *Set) add(e Entry) {
	if known, found := s.revoked.Load(e.Hash); found {
		// The same session again, from a stream that starts over. The later end counts.
		it := known.(*item)
		it.Number = e.Number
		if e.Until.After(it.Until) {
			it.Until = e.Until
			heap.Fix(&s.queue, it.index)
		}
		return
	}
	it := &item{Entry: e}
	heap.Push(&s.queue, it)
	s.revoked.Store(e.Hash, it)
	for len(s.queue) > s.limit {
		s.raise(s.queue[0].Until)
		s.drop()
	}
}

// raise revokes every token that expires no later than to.
func (s *Set) raise(to time.Time) { s.floor.Store(max(s.floor.Load(), to.Unix())) }

// drop forgets the entry that runs out first.
func (s *Set) drop() {
	s.revoked.Delete(s.queue[0].Hash)
	heap.Pop(&s.queue)
}

// item is an entry in the queue that knows its place there.
type item struct {
	Entry
	index int
}

// queue is a heap of items, the one that runs out first at its root.
type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].Until.Before(q[j].Until) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	it := x.(*item)
	it.index = len(*q)
	*q = append(*q, it)
}

func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}
