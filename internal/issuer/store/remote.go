package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// Patience is how long an operation on a database across a network may take unless a Remote says otherwise. Clients wait little longer,
	// and ask again.
	Patience = 5 * time.Second
	// maxWaiting is how many may be at it at once: beyond that nobody gets an answer in time.
	maxWaiting = 2_000
	// maxTrying is the same while the last one failed. The others are sent away at once, and the database is not overrun when it comes back.
	maxTrying = 16
	// again is how long a follower waits before it connects again.
	again = time.Second
)

// Remote is a database across a network that is reached by a C, which may be replaced at any time. It bounds how long and how many operations
// wait, so that a database that hangs costs a known amount of time and memory.
type Remote[C any] struct {
	Patience time.Duration // 0: the constant

	current atomic.Pointer[reached[C]] // nil before the first Use
	waiting atomic.Int64
	failing atomic.Bool
}

// reached is a C in use.
type reached[C any] struct {
	by       C
	replaced chan struct{} // closed when another is in use
}

var errNowhere = errors.New("no URL of it has been read yet")

// Use makes operations from now on go by next, and returns what they went by before, if there was anything.
func (r *Remote[C]) Use(next C) (before C, ok bool) {
	old := r.current.Swap(&reached[C]{by: next, replaced: make(chan struct{})})
	if old == nil {
		return before, false
	}
	close(old.replaced)
	return old.by, true
}

// Used is what operations go by, if there is anything yet.
func (r *Remote[C]) Used() (now C, ok bool) {
	if current := r.current.Load(); current != nil {
		return current.by, true
	}
	return now, false
}

// Bound is how long an operation may take.
func (r *Remote[C]) Bound() time.Duration { return cmp.Or(r.Patience, Patience) }

// Ask runs one operation. An error of it is told as ErrUnavailable with its text alone: errors of drivers hold the passwords that they used.
// ErrNotFound, ErrLimit and the end of the caller's own ctx come back as they are.
func Ask[C, T any](ctx context.Context, r *Remote[C], doing string, operation func(context.Context, C) (T, error)) (T, error) {
	var nothing T
	room := int64(maxWaiting)
	if r.failing.Load() {
		room = maxTrying
	}
	defer r.waiting.Add(-1)
	if r.waiting.Add(1) > room {
		return nothing, fmt.Errorf("%s: %w: others are waiting for it", doing, ErrUnavailable)
	}
	by, ok := r.Used()
	if !ok {
		return nothing, fmt.Errorf("%s: %w: %w", doing, ErrUnavailable, errNowhere)
	}
	bounded, cancel := context.WithTimeout(ctx, r.Bound())
	defer cancel()
	answer, err := operation(bounded, by)
	switch {
	case err == nil:
		r.failing.Store(false)
		return answer, nil
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrLimit):
		r.failing.Store(false)
		return nothing, err
	case ctx.Err() != nil:
		return nothing, fmt.Errorf("%s: %w", doing, ctx.Err())
	default:
		r.failing.Store(true)
		return nothing, fmt.Errorf("%s: %w: %s", doing, ErrUnavailable, err.Error())
	}
}

// Follow calls listen again and again until ctx is done. The context that it passes on also ends when another C is in use. What listen ran
// into, operations run into as well, and tell.
func (r *Remote[C]) Follow(ctx context.Context, listen func(context.Context, C)) {
	for ctx.Err() == nil {
		if now := r.current.Load(); now != nil {
			listening, cancel := context.WithCancel(ctx)
			go func() {
				select {
				case <-now.replaced:
					cancel()
				case <-listening.Done():
				}
			}()
			listen(listening, now.by)
			cancel()
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}
