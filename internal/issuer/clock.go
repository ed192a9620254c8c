package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

const (
	// compareEvery is how often the clocks are compared. In between a quartz drifts by a millisecond at most.
	compareEvery = 10 * time.Second
	// maxRoundTrip is how long the answer may have been on its way; the time is off by half of that at most.
	maxRoundTrip = time.Second
	// maxDifference is by how much the clocks may differ. Verifiers forgive as much, so beyond it either is of no use for tokens.
	maxDifference = time.Minute
)

// clock tells the time that all replicas share: the store's. By their own clocks they would not agree how long ago a refresh token was replaced,
// and would take a parallel refresh for a theft. Between looks at the store's clock it goes on by this machine's, steadily, even if that is set.
type clock struct {
	store store.Store
	own   func() time.Time
	log   *slog.Logger

	mu     sync.Mutex
	shared time.Time // at the moment when own told at
	at     time.Time
	err    error // why this is not a time to work by
}

func newClock(s store.Store, own func() time.Time, log *slog.Logger) *clock {
	now := own()
	return &clock{store: s, own: own, log: log, shared: now, at: now, err: errors.New("the clock has not been compared with the store's yet")}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shared.Add(c.own().Sub(c.at))
}

// fault is why the time is none to work by; nil when it is. It names nothing that is not public.
func (c *clock) fault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// follow compares the clocks until ctx is done.
func (c *clock) follow(ctx context.Context) {
	for {
		wait := compareEvery
		if !c.compare(ctx) {
			wait = lookEvery
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// compare looks at the store's clock, and reports whether it could. A store that is away leaves the last comparison in force.
func (c *clock) compare(ctx context.Context) bool {
	before := c.own()
	shared, err := c.store.Time(ctx, before)
	after := c.own()
	trip := after.Sub(before)
	if err != nil || trip > maxRoundTrip {
		return false // that the store is away, the journal tells
	}
	difference := shared.Add(trip / 2).Sub(after)
	var fault error
	if difference.Abs() > maxDifference {
		fault = fmt.Errorf("this machine's clock and the store's differ by %v: set right the one that is wrong", difference.Round(time.Second))
	}
	c.mu.Lock()
	was := c.err
	c.shared, c.at, c.err = after.Add(difference), after, fault
	c.mu.Unlock()
	if fault != nil && (was == nil || was.Error() != fault.Error()) {
		c.log.Error("clocks differ; not ready", "error", fault)
	}
	return true
}
