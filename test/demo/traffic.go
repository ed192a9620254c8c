package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// traffic is clients that send requests all the time.
type traffic struct {
	demo    *demo
	cancel  context.CancelFunc
	clients sync.WaitGroup

	mu     sync.Mutex
	report report
}

// report is what clients have met with.
type report struct {
	requests, refreshes int
	signedBy            map[string]int // tokens that were given out, by kid
	failures            []error
}

func (r report) String() string {
	return fmt.Sprintf("%d requests and %d refreshes, %d refused", r.requests, r.refreshes, len(r.failures))
}

func newTraffic(d *demo) *traffic {
	return &traffic{demo: d, cancel: func() {}, report: report{signedBy: map[string]int{}}}
}

// start signs n clients in as bob and sets them going.
func (c *traffic) start(ctx context.Context, n int) error {
	ctx, c.cancel = context.WithCancel(ctx)
	for range n {
		a, err := c.demo.do(ctx, bob)
		if err != nil {
			return err
		}
		p, err := pairOf(a)
		if err != nil {
			return err
		}
		c.clients.Go(func() { c.keepAsking(ctx, p) })
	}
	return nil
}

// keepAsking sends a request every 20 ms; every tenth is a refresh.
func (c *traffic) keepAsking(ctx context.Context, p *pair) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for turn := 1; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var err error
		var next *pair
		if turn%10 == 0 {
			next, err = c.refresh(ctx, p)
		} else {
			err = c.ask(ctx, p)
		}
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		switch {
		case err != nil:
			c.report.failures = append(c.report.failures, err)
		case next != nil:
			p = next
			c.report.refreshes++
			c.report.signedBy[keyOf(p.access)]++
		default:
			c.report.requests++
		}
		c.mu.Unlock()
	}
}

func (c *traffic) ask(ctx context.Context, p *pair) error {
	a, err := c.demo.do(ctx, as(p.access))
	if err != nil {
		return err
	}
	return a.status(http.StatusOK)
}

func (c *traffic) refresh(ctx context.Context, p *pair) (*pair, error) {
	a, err := c.demo.do(ctx, refreshWith(p.refresh))
	if err != nil {
		return nil, err
	}
	return pairOf(a)
}

// sofar is what the clients have met with up to now.
func (c *traffic) sofar() report {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.report
	now.signedBy, now.failures = maps.Clone(now.signedBy), slices.Clone(now.failures)
	return now
}

// stop ends the clients, and returns what they met with. It may be called again.
func (c *traffic) stop() report {
	c.cancel()
	c.clients.Wait()
	return c.sofar()
}
