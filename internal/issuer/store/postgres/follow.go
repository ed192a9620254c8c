package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// again is how long a follower waits before it connects again.
const again = time.Second

// Follow implements store.Store: it listens on a connection of its own.
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
	go func() {
		select {
		case <-now.changed:
			cancel()
		case <-ctx.Done():
		}
	}()
	connection, err := pgx.ConnectConfig(ctx, now.pool.Config().ConnConfig)
	if err != nil {
		return
	}
	defer func() { _ = connection.Close(context.WithoutCancel(ctx)) }()
	if _, err = connection.Exec(ctx, "LISTEN latchkey_revocations"); err != nil {
		return
	}
	for err == nil {
		changed() // at first, too: it may have missed one while it was not listening
		_, err = connection.WaitForNotification(ctx)
	}
}
