//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"
)

// traffic is people who use the app all the time, and must not notice anything.
type traffic struct {
	app    *app
	every  int // which turn is a refresh
	cancel context.CancelFunc
	people sync.WaitGroup

	mu                  sync.Mutex
	requests, refreshes int
	signedBy            map[string]int // access tokens that were given out, by kid
	failures            []string
}

// startTraffic signs n people in, who then ask the app for a page every 20 ms, and refresh their session every tenth time. They come through the app's
// Service, each on a connection that is kept.
func startTraffic(a *app, n int) *traffic {
	a.Helper()
	return start(a, n, 10)
}

// startVisitors is the same with people who do not stay long enough to refresh anything.
func startVisitors(a *app, n int) *traffic {
	a.Helper()
	return start(a, n, math.MaxInt)
}

func start(a *app, n, every int) *traffic {
	a.Helper()
	ctx, cancel := context.WithCancel(a.Context())
	t := &traffic{app: a, every: every, cancel: cancel, signedBy: map[string]int{}}
	a.Cleanup(func() { cancel(); t.people.Wait() })
	address := a.service()
	for range n {
		s := a.signIn("bob")
		t.people.Go(func() { t.use(ctx, address, s) })
	}
	return t
}

func (t *traffic) use(ctx context.Context, address string, s session) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for turn := 1; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		began := time.Now()
		refreshing := turn%t.every == 0
		var err error
		next := s
		if refreshing {
			next, err = refresh(ctx, address, s)
		} else {
			var a *answer
			if a, err = get(ctx, address+"/", s.access); err == nil {
				err = a.is(http.StatusOK)
			}
		}
		if ctx.Err() != nil {
			return
		}
		t.mu.Lock()
		switch {
		case err != nil:
			t.failures = append(t.failures, fmt.Sprintf("%s (refresh: %v): %v", began.Format(time.TimeOnly+".000"), refreshing, err))
		case refreshing:
			t.refreshes++
			t.signedBy[kid(next.access)]++
			s = next
		default:
			t.requests++
		}
		t.mu.Unlock()
	}
}

// served is how many requests and refreshes have been answered as they should be.
func (t *traffic) served() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requests + t.refreshes
}

// awaitMore waits until n more requests have been answered well.
func (t *traffic) awaitMore(n int) {
	t.app.Helper()
	want := t.served() + n
	eventually(t.app.T, func(context.Context) error {
		if got := t.served(); got < want {
			return fmt.Errorf("%d of %d requests answered", got, want)
		}
		return nil
	})
}

// stop sends everybody home, and fails the test if anybody noticed anything.
func (t *traffic) stop() {
	t.app.Helper()
	t.cancel()
	t.people.Wait()
	t.app.Logf("%d requests and %d refreshes, %d refused", t.requests, t.refreshes, len(t.failures))
	if len(t.failures) > 0 {
		t.app.Errorf("%d of %d requests were refused; the first: %s; the last: %s",
			len(t.failures), t.requests+t.refreshes+len(t.failures), t.failures[0], t.failures[len(t.failures)-1])
	}
}
