package distribution

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// mostPokes bounds how many pokes are under way at a time. An API server that is given fifty at once answers nearly all of them when it has done nearly all
// the work: the first pods would be told when the last ones are, and their kubelets would have nothing to do until then.
const mostPokes = 8

// turnstile lets so many in at a time, in the order in which they come. The zero value is ready.
type turnstile struct {
	once sync.Once
	free *semaphore.Weighted
}

func (t *turnstile) enter(ctx context.Context) (leave func(), err error) {
	t.once.Do(func() { t.free = semaphore.NewWeighted(mostPokes) })
	if err := t.free.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { t.free.Release(1) }, nil
}
