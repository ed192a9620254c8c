package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/test/servers"
)

func BenchmarkStore(b *testing.B) {
	dsn := servers.StartPostgreSQL(b).Database(b)
	s := use(b, dsn)
	defer s.Close()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = 16 // as many as the store has
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	storetest.RunBenchmarks(b, s, func(id store.SessionID, counter int64) error {
		tag, err := pool.Exec(context.Background(), `UPDATE latchkey_sessions SET counter = counter + 1 WHERE id = $1 AND counter = $2`, id[:], counter)
		if err == nil && tag.RowsAffected() == 0 {
			err = errors.New("lost")
		}
		return err
	})
}
