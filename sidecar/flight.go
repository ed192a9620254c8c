package sidecar

import (
	"context"
	"sync/atomic"
	"time"
)

// flight counts what is under way, requests that are being answered or connections that are open, so that a drain knows when the last one is over.
type flight struct {
	n      atomic.Int64
	landed chan struct{} // of capacity 1: n has come down to 0 since it was last read
}

func newFlight() *flight { return &flight{landed: make(chan struct{}, 1)} }

func (f *flight) enter() { f.n.Add(1) }

func (f *flight) leave() {
	if f.n.Add(-1) == 0 {
		select {
		case f.landed <- struct{}{}:
		default:
		}
	}
}

// wait returns when nothing is in flight, or when ctx ends.
func (f *flight) wait(ctx context.Context) error {
	for f.n.Load() > 0 {
		select {
		case <-f.landed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// waitFor is wait, for so long at most.
func (f *flight) waitFor(ctx context.Context, limit time.Duration) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_ = f.wait(bounded) // the limit is none of anybody's faults
}
