// Package bare does the conditional update that a refresh comes down to with each database's driver alone: the limit that stores and the token
// service are measured beside. It knows their tables, and nothing of package store's promises.
package bare

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	goredis "github.com/redis/go-redis/v9"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	_ "github.com/latchkey-dev/latchkey/internal/issuer/store/sqlite" // and with it the driver
)

// Update raises the counter of a session from counter to the next.
type Update func(id store.SessionID, counter int64) error

// connections is how many each has, as the stores do.
const connections = 16

var errLost = errors.New("the counter is another")

// PostgreSQL updates the database at this URL.
func PostgreSQL(t testing.TB, dsn string) Update {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return func(id store.SessionID, counter int64) error {
		tag, err := pool.Exec(context.Background(), `UPDATE latchkey_sessions SET counter = counter + 1 WHERE id = $1 AND counter = $2`, id[:], counter)
		if err == nil && tag.RowsAffected() == 0 {
			err = errLost
		}
		return err
	}
}

// Redis updates the database at this URL.
func Redis(t testing.TB, address string) Update {
	t.Helper()
	options, err := goredis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	options.PoolSize, options.MaxActiveConns = connections, connections
	client := goredis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	update := goredis.NewScript(`if redis.call('HGET', KEYS[1], 'counter') ~= ARGV[1] then return redis.error_reply('lost') end
		return redis.call('HINCRBY', KEYS[1], 'counter', 1)`)
	return func(id store.SessionID, counter int64) error {
		return update.Run(context.Background(), client, []string{"{latchkey}:session:" + id.String()}, counter).Err()
	}
}

// SQLite updates the file at this path.
func SQLite(t testing.TB, path string) Update {
	t.Helper()
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	update, err := db.PrepareContext(t.Context(), `UPDATE sessions SET counter = counter + 1 WHERE id = ? AND counter = ?`) //nolint:sqlclosecheck // closed with the database
	if err != nil {
		t.Fatal(err)
	}
	return func(id store.SessionID, counter int64) error {
		result, err := update.ExecContext(context.Background(), id[:], counter)
		if err != nil {
			return err
		}
		if rows, err := result.RowsAffected(); err != nil || rows == 0 {
			return errors.Join(err, errLost)
		}
		return nil
	}
}
