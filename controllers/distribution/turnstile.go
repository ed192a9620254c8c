package distribution

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// mostPokes bounds how many pokes are under way at a time. An API server that is given fifty at once answers nearly all of them when it has done nearly all
	// the work: the first pods would be told when the last ones are, and their kubelets would have nothing to do until then.
	mostPokes = 8
	// overtime is how long a poke counts among those. One that takes longer is overdue: most likely it makes no work, but waits for a webhook that somebody
	// has for updates of pods, for up to half a minute.
	overtime = 250 * time.Millisecond
	// mostOverdue bounds the pokes that are overdue. Each holds a worker, and some must be left for pods that no slow webhook is asked about.
	mostOverdue = workers * 3 / 4
)

// turnstile lets so many in at a time, in the order in which they come. The zero value is ready.
type turnstile struct {
	once sync.Once
	free *semaphore.Weighted

	mu      sync.Mutex
	all     int            // that are overdue
	overdue map[string]int // of those, by namespace
}

// enter waits for a place. There is none when ctx ends, nor where the namespace has its share of what is overdue.
func (t *turnstile) enter(ctx context.Context, namespace string) (leave func(), ok bool) {
	t.once.Do(func() { t.free, t.overdue = semaphore.NewWeighted(mostPokes), map[string]int{} })
	if t.free.Acquire(ctx, 1) != nil {
		return nil, false
	}
	if t.hasItsShare(namespace) {
		t.free.Release(1)
		return nil, false
	}
	late := time.AfterFunc(overtime, func() {
		t.count(namespace, 1)
		t.free.Release(1)
	})
	return func() {
		if late.Stop() {
			t.free.Release(1)
		} else {
			t.count(namespace, -1)
		}
	}, true
}

// hasItsShare says whether a namespace has as many pokes overdue as are left for all. So one alone may have half of them, two a third each, and one that
// has none may always try.
func (t *turnstile) hasItsShare(namespace string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	has := t.overdue[namespace]
	return has > 0 && has >= mostOverdue-t.all
}

func (t *turnstile) count(namespace string, more int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all += more
	t.overdue[namespace] += more
	if t.overdue[namespace] == 0 {
		delete(t.overdue, namespace)
	}
}
