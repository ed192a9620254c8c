package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Follow implements store.Store: it listens on a connection of its own.
func (s *Store) Follow(ctx context.Context, changed func()) {
	s.remote.Follow(ctx, func(ctx context.Context, pool *pgxpool.Pool) {
		connection, err := pgx.ConnectConfig(ctx, pool.Config().ConnConfig)
		if err != nil {
			return
		}
		defer func() { _ = connection.Close(context.WithoutCancel(ctx)) }() // nothing is lost with it
		if _, err = connection.Exec(ctx, "LISTEN latchkey_revocations"); err != nil {
			return
		}
		for err == nil {
			changed() // at first, too: it may have missed one while it was not listening
			_, err = connection.WaitForNotification(ctx)
		}
	})
}
