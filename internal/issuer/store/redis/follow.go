package redis

import (
	"context"
	"time"
)

// again is how long a follower waits before it connects again.
const again = time.Second

// Follow implements store.Store: it subscribes on a connection of its own.
func (s *Store) Follow(ctx context.Context, changed func()) {
	for ctx.Err() == nil {
		s.listen(ctx, changed)
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// listen listens until the connection fails or another one is to be used. Why it failed, others tell who ask the same server.
func (s *Store) listen(ctx context.Context, changed func()) {
	now, err := s.now()
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	subscription := now.client.Subscribe(ctx, prefix+"revocations")
	stop := func() { _ = subscription.Close() } // of no effect the second time
	defer stop()
	defer context.AfterFunc(ctx, stop)() // who receives looks at no context
	go func() {
		select {
		case <-now.changed:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		// The first is the server's word that it is listening: it may have missed one while it was not.
		if _, err := subscription.Receive(ctx); err != nil {
			return
		}
		changed()
	}
}
