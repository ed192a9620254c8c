package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// Follow implements store.Store: it subscribes on a connection of its own.
func (s *Store) Follow(ctx context.Context, changed func()) {
	s.remote.Follow(ctx, func(ctx context.Context, client *goredis.Client) {
		subscription := client.Subscribe(ctx, prefix+"revocations")
		stop := func() { _ = subscription.Close() } // of no effect the second time
		defer stop()
		defer context.AfterFunc(ctx, stop)() // who receives looks at no context
		for {
			// The first is the server's word that it is listening: it may have missed one while it was not.
			if _, err := subscription.Receive(ctx); err != nil {
				return
			}
			changed()
		}
	})
}
