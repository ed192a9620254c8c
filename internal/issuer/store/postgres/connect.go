package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// connections is how many one process has for its requests; one more listens for revocations.
	connections = 16
	// proofTimeout bounds all else that a new connection has to do first, which may be a migration.
	proofTimeout = 5 * time.Minute
)

// Use makes new connections go to the database at this URL (see docs/stores.md for which are taken), trusting these authorities, in PEM, or
// the system's when there are none. Connections to where it was before end with what they are doing. On an error nothing has changed.
func (s *Store) Use(url string, authorities []byte) error {
	config, err := target(url, authorities)
	if err != nil {
		return err
	}
	config.MaxConns = connections
	config.MinConns, config.MinIdleConns = 0, 0
	config.MaxConnLifetime, config.MaxConnLifetimeJitter = time.Hour, 10*time.Minute
	config.PingTimeout = time.Second
	config.ConnConfig.ConnectTimeout = s.remote.Bound() * 2 / 5 // to reach the server and sign in: 2 s, unless more patience is asked for
	// A server that vanishes without a word is noticed in half a minute also where nobody waits for an answer.
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	config.ConnConfig.DialFunc = dialer.DialContext
	config.AfterConnect = s.prove
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return errors.New("is not understood")
	}
	if old, ok := s.remote.Use(pool); ok {
		go old.Close() // which waits for what is in flight
	}
	return nil
}

// prove makes sure, on each new connection, that the database at its other end keeps what it is told and is ours, and brings its schema up
// to date: it may be another one than a moment ago. The numbers of revocations move ahead; see store.Store.
func (s *Store) prove(ctx context.Context, connection *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	// A commit that is reported must survive, whatever the database's own default is. The others end what nobody waits for any more: a process
	// has died, or given up.
	if _, err := connection.Exec(ctx, `SET synchronous_commit = on; SET statement_timeout = '1min'; SET client_connection_check_interval = '2s'; SET idle_in_transaction_session_timeout = '10s';
		SET default_transaction_isolation = 'read committed'`); err != nil {
		return err
	}
	var fsync, encoding string
	var standby bool
	err := connection.QueryRow(ctx, `SELECT current_setting('fsync'), current_setting('server_encoding'), pg_is_in_recovery()`).Scan(&fsync, &encoding, &standby)
	switch {
	case err != nil:
		return err
	case standby:
		return errors.New("it is a standby, which takes no writes: name the primary")
	case fsync != "on":
		return errors.New("it runs with fsync off, and would forget sessions: turn fsync on")
	case encoding != "UTF8":
		return fmt.Errorf("its encoding is %s: it must be UTF8", encoding)
	}
	if err = migrate(ctx, connection); err != nil {
		return err
	}
	var owner string
	err = connection.QueryRow(ctx, `UPDATE latchkey_stream
		SET last = greatest(last, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), owner = $1 WHERE owner IN ('', $1) RETURNING owner`,
		s.owner).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("it holds the sessions of another TokenIssuer than %s: each needs a database of its own", s.owner)
	}
	return err
}
