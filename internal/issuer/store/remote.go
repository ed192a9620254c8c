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
)

// Remote bounds how long and how many operations wait for a database across a network, so that one that hangs costs a known amount of time
// and memory.
type Remote struct {
	Patience time.Duration // 0: the constant

	waiting atomic.Int64
	failing atomic.Bool
}

// Ask runs one operation. An error of it is told as ErrUnavailable with its text alone: errors of drivers hold the passwords that they used.
// ErrNotFound, ErrLimit and the end of the caller's own ctx come back as they are.
func Ask[T any](ctx context.Context, r *Remote, doing string, operation func(context.Context) (T, error)) (T, error) {
	var nothing T
	room := int64(maxWaiting)
	if r.failing.Load() {
		room = maxTrying
	}
	defer r.waiting.Add(-1)
	if r.waiting.Add(1) > room {
		return nothing, fmt.Errorf("%s: %w: others are waiting for it", doing, ErrUnavailable)
	}
	bounded, cancel := context.WithTimeout(ctx, cmp.Or(r.Patience, Patience))
	defer cancel()
	answer, err := operation(bounded)
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
