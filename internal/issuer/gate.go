package issuer

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// checkMemory is how much all password checks at once may take, in KiB: three at the default cost. The garbage of finished checks comes on
	// top, and the container has 512 MiB for everything, however many processors the node has.
	checkMemory = 64 << 10
	// waitingPerSlot bounds the queue for password checks: with 20 ms each, who comes last waits a second.
	waitingPerSlot = 50
	// patience is how long one waits all the same, where the processor is slow; the sidecar gives up after 15 s.
	patience = 5 * time.Second
)

// maxSignIns bounds the sign-ins that are at anything at all: those that wait for room, and those that the store counts or remembers.
const maxSignIns = 200

// maxRequests bounds the requests of all kinds that are being answered, streams of revocations aside: as many as a store across a network lets wait.
// Each takes up to 60 KB with its header and body.
const maxRequests = 2_000

// doors bounds how many are at something before it costs anything: sign-ins, so that a flood of them leaves the store to refreshes, and requests
// altogether.
type doors struct {
	room   int64
	full   *refusal
	inside atomic.Int64
}

// enter returns how to leave, or the refusal.
func (d *doors) enter() (leave func(), err error) {
	leave = func() { d.inside.Add(-1) }
	if d.inside.Add(1) > d.room {
		leave()
		return nil, d.full
	}
	return leave, nil
}

// gate bounds how many passwords are checked at once, by the memory that each takes and by the processors. The others wait, up to a
// number; beyond that they are sent away at once, so that refreshes keep their share.
type gate struct {
	room    *semaphore.Weighted // in KiB
	share   int64               // of one processor
	waiting atomic.Int64
}

func newGate(processors int) *gate {
	return &gate{room: semaphore.NewWeighted(checkMemory), share: checkMemory / int64(processors)}
}

// enter waits for room for a check that takes so many KiB, and returns how to leave it, or errBusy. A check that takes more than there is runs
// alone.
func (g *gate) enter(ctx context.Context, memory uint32) (leave func(), err error) {
	need := min(max(int64(memory), g.share), checkMemory)
	leave = func() { g.room.Release(need) }
	if g.room.TryAcquire(need) {
		return leave, nil
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > waitingPerSlot*(checkMemory/need) {
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if g.room.Acquire(ctx, need) != nil {
		return nil, errBusy
	}
	return leave, nil
}
