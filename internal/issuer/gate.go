package issuer

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// waitingPerSlot bounds the queue for password checks: with 20 ms each, who comes last waits a second.
	waitingPerSlot = 50
	// patience is how long one waits all the same, where the processor is slow; the sidecar gives up after 15 s.
	patience = 5 * time.Second
)

// gate bounds how many passwords are checked at once, for each check takes 19 MiB or more and a processor. The others wait, up to a number;
// beyond that they are sent away at once, so that refreshes keep their share.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
}

func newGate(slots int) *gate { return &gate{slots: make(chan struct{}, slots)} }

// enter waits for a slot and returns how to leave it, or errBusy.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.slots <- struct{}{}:
		return g.leave, nil
	default:
	}
	if g.waiting.Add(1) > int64(waitingPerSlot*cap(g.slots)) {
		g.waiting.Add(-1)
		return nil, errBusy
	}
	defer g.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case g.slots <- struct{}{}:
		return g.leave, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}

func (g *gate) leave() { <-g.slots }
