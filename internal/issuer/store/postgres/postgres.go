// Package postgres keeps sessions in PostgreSQL. It knows SQL, connections and durability; it decides nothing about sessions.
//
// Each operation is one statement, so a process that dies leaves no lock behind that others wait for. Every connection proves first that its
// database is fit to be used (see prove), so there is nothing to do when a server was away, restarted, restored or replaced.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// Store is a store.Store in PostgreSQL.
type Store struct {
	owner  string
	remote store.Remote[*pgxpool.Pool]

	finds     store.Together[store.SessionID, store.Session]
	rotations store.Together[rotation, bool]
	strays    sync.WaitGroup // rotations that are not made together with others

	pruning sync.Mutex
	pruned  store.SessionID // the last one that Prune looked at
}

var _ store.Store = (*Store)(nil)

// Options is what a Store needs to know.
type Options struct {
	Owner    string        // the TokenIssuer whose sessions these are, as namespace/name
	Patience time.Duration // how long one operation may take; 0: store.Patience
}

// New returns a Store. It is of no use before Use. It connects when it is asked
// for something, and again whenever it has to.
func New(o Options) *Store {
	s := &Store{owner: o.Owner, remote: store.Remote[*pgxpool.Pool]{Patience: o.Patience}}
	s.finds.AtOnce, s.finds.Go = goesAtOnce, s.findAll
	s.rotations.AtOnce, s.rotations.Go = goesAtOnce, s.rotateAll
	return s
}

// Close ends all connections, once they have done what they are doing.
func (s *Store) Close() error {
	if pool, ok := s.remote.Used(); ok {
		pool.Close()
	}
	s.finds.Wait()
	s.rotations.Wait()
	s.strays.Wait()
	return nil
}

const leeway = int64(revocation.Leeway / time.Second)

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, n store.Session, l store.Limit, h store.Horizon) ([]store.SessionID, error) {
	return store.Ask(ctx, &s.remote, "create session", func(ctx context.Context, pool *pgxpool.Pool) ([]store.SessionID, error) {
		var beyond [][]byte
		if err := pool.QueryRow(ctx, `SELECT latchkey_create($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
			n.ID[:], n.User, n.Secret[:], n.Counter, n.CreatedAt.UnixMilli(), n.RotatedAt.UnixMilli(), n.AccessUntil.Unix(),
			n.Device.Address, n.Device.UserAgent, n.Data,
			l.Sessions, l.Refuse, h.CreatedBefore.UnixMilli(), h.RotatedBefore.UnixMilli(), leeway).Scan(&beyond); err != nil {
			return nil, err
		}
		if beyond == nil {
			return nil, store.ErrLimit
		}
		return sessionIDs(beyond)
	})
}

// Find implements store.Store.
func (s *Store) Find(ctx context.Context, id store.SessionID) (store.Session, error) {
	return store.Ask(ctx, &s.remote, "find session", func(ctx context.Context, _ *pgxpool.Pool) (store.Session, error) { return s.finds.Ask(ctx, id) })
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, user string) ([]store.Session, error) {
	return store.Ask(ctx, &s.remote, "list sessions", func(ctx context.Context, pool *pgxpool.Pool) ([]store.Session, error) {
		rows, err := pool.Query(ctx, `SELECT id, counter, created_at, rotated_at, access_until, address, user_agent, data
			FROM latchkey_sessions WHERE user_name = $1 ORDER BY created_at DESC, id`, user)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Session, error) {
			found := store.Session{User: user}
			var id []byte
			var created, rotated, until int64
			err := row.Scan(&id, &found.Counter, &created, &rotated, &until, &found.Device.Address, &found.Device.UserAgent, &found.Data)
			copy(found.ID[:], id)
			found.CreatedAt, found.RotatedAt, found.AccessUntil = time.UnixMilli(created), time.UnixMilli(rotated), time.Unix(until, 0)
			return found, err
		})
	})
}

// Rotate implements store.Store.
func (s *Store) Rotate(ctx context.Context, id store.SessionID, counter int64, r store.Rotation) (bool, error) {
	return store.Ask(ctx, &s.remote, "rotate session", func(ctx context.Context, _ *pgxpool.Pool) (bool, error) {
		return s.rotations.Ask(ctx, rotation{id, counter, r})
	})
}

// Extend implements store.Store.
func (s *Store) Extend(ctx context.Context, id store.SessionID, counter int64, accessUntil time.Time) (bool, error) {
	return s.change(ctx, "extend session", `UPDATE latchkey_sessions SET access_until = greatest(access_until, $3) WHERE id = $1 AND counter = $2`,
		id[:], counter, accessUntil.Unix())
}

// change runs a conditional update and reports whether it met its condition.
func (s *Store) change(ctx context.Context, doing, statement string, arguments ...any) (bool, error) {
	return store.Ask(ctx, &s.remote, doing, func(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
		tag, err := pool.Exec(ctx, statement, arguments...)
		return tag.RowsAffected() > 0, err
	})
}

// End implements store.Store.
func (s *Store) End(ctx context.Context, id store.SessionID, now time.Time) (bool, error) {
	ended, err := s.end(ctx, "end session", `SELECT latchkey_end(ARRAY[$1::bytea], $2, $3)`, id[:], now.UnixMilli(), leeway)
	return len(ended) > 0, err
}

// EndAll implements store.Store.
func (s *Store) EndAll(ctx context.Context, user string, except store.SessionID, now time.Time) ([]store.SessionID, error) {
	return s.end(ctx, "end sessions", `SELECT latchkey_end_all($1, $2, $3, $4)`, user, except[:], now.UnixMilli(), leeway)
}

func (s *Store) end(ctx context.Context, doing, statement string, arguments ...any) ([]store.SessionID, error) {
	return store.Ask(ctx, &s.remote, doing, func(ctx context.Context, pool *pgxpool.Pool) ([]store.SessionID, error) {
		var ids [][]byte
		if err := pool.QueryRow(ctx, statement, arguments...).Scan(&ids); err != nil {
			return nil, err
		}
		return sessionIDs(ids)
	})
}

// Stream implements store.Store.
func (s *Store) Stream(ctx context.Context) (name string, last int64, _ error) {
	name, err := store.Ask(ctx, &s.remote, "read revocation stream", func(ctx context.Context, pool *pgxpool.Pool) (name string, _ error) {
		err := pool.QueryRow(ctx, `SELECT name, last FROM latchkey_stream`).Scan(&name, &last)
		return name, err
	})
	return name, last, err
}

// Revocations implements store.Store.
func (s *Store) Revocations(ctx context.Context, after int64, limit int) ([]store.Revocation, error) {
	return store.Ask(ctx, &s.remote, "read revocations", func(ctx context.Context, pool *pgxpool.Pool) ([]store.Revocation, error) {
		rows, err := pool.Query(ctx, `SELECT number, session_id, revoked_until FROM latchkey_revocations
			WHERE number > $1 ORDER BY number LIMIT $2`, after, limit)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r store.Revocation, _ error) {
			var id []byte
			var until int64
			err := row.Scan(&r.Number, &id, &until)
			copy(r.Session[:], id)
			r.Until = time.Unix(until, 0)
			return r, err
		})
	})
}

// Count implements store.Store.
func (s *Store) Count(ctx context.Context, key store.CounterKey, window time.Duration, now time.Time) (hits int, until time.Time, _ error) {
	ends, err := store.Ask(ctx, &s.remote, "count", func(ctx context.Context, pool *pgxpool.Pool) (ends int64, _ error) {
		err := pool.QueryRow(ctx, `INSERT INTO latchkey_counters AS c (key, hits, ends_at) VALUES ($1, 1, $2::bigint + $3::bigint)
			ON CONFLICT (key) DO UPDATE SET hits = CASE WHEN c.ends_at <= $2 THEN 1 ELSE c.hits + 1 END,
				ends_at = CASE WHEN c.ends_at <= $2 THEN excluded.ends_at ELSE c.ends_at END
			RETURNING hits, ends_at`, key[:], now.UnixMilli(), window.Milliseconds()).Scan(&hits, &ends)
		return ends, err
	})
	return hits, time.UnixMilli(ends), err
}

// Uncount implements store.Store.
func (s *Store) Uncount(ctx context.Context, key store.CounterKey, now time.Time) error {
	_, err := s.change(ctx, "uncount", `UPDATE latchkey_counters SET hits = hits - 1 WHERE key = $1 AND hits > 0 AND ends_at > $2`, key[:], now.UnixMilli())
	return err
}

// Time implements store.Store: the server's clock is the one that counts.
func (s *Store) Time(ctx context.Context, _ time.Time) (time.Time, error) {
	return store.Ask(ctx, &s.remote, "ask the time", func(ctx context.Context, pool *pgxpool.Pool) (at time.Time, _ error) {
		err := pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&at)
		return at, err
	})
}

// Prune implements store.Store. Rows that somebody else is at work on are left for the next time.
func (s *Store) Prune(ctx context.Context, h store.Horizon, now time.Time, limit int) (sessions, revocations int, _ error) {
	const condition = `(created_at < $1 OR rotated_at < $2) AND access_until < $3`
	horizon := []any{h.CreatedBefore.UnixMilli(), h.RotatedBefore.UnixMilli(), now.Add(-revocation.Leeway).Unix()}
	s.pruning.Lock()
	defer s.pruning.Unlock()
	sessions, err := store.Ask(ctx, &s.remote, "prune", func(ctx context.Context, pool *pgxpool.Pool) (int, error) {
		rows, err := pool.Query(ctx, `SELECT id, `+condition+` FROM latchkey_sessions WHERE id > $4 ORDER BY id LIMIT $5`,
			append(horizon[:3:3], s.pruned[:], store.Part)...)
		if err != nil {
			return 0, err
		}
		over, next, err := store.Overdue(rows, limit)
		rows.Close()
		if err != nil {
			return 0, err
		}
		ids := make([][]byte, len(over))
		for i := range over {
			ids[i] = over[i][:]
		}
		gone, err := pool.Exec(ctx, `DELETE FROM latchkey_sessions WHERE id IN
			(SELECT id FROM latchkey_sessions WHERE `+condition+` AND id = ANY ($4) FOR UPDATE SKIP LOCKED)`, append(horizon[:3:3], ids)...)
		if err != nil {
			return 0, err
		}
		swept := int(gone.RowsAffected())
		s.pruned = next
		if gone, err = pool.Exec(ctx, `DELETE FROM latchkey_revocations WHERE number IN
			(SELECT number FROM latchkey_revocations WHERE revoked_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`, now.Unix(), limit); err != nil {
			return 0, err
		}
		revocations = int(gone.RowsAffected())
		_, err = pool.Exec(ctx, `DELETE FROM latchkey_counters WHERE key IN
			(SELECT key FROM latchkey_counters WHERE ends_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`, now.UnixMilli(), limit)
		return swept, err
	})
	return sessions, revocations, err
}

// Sessions implements store.Store.
func (s *Store) Sessions(ctx context.Context) (int, error) {
	return store.Ask(ctx, &s.remote, "count sessions", func(ctx context.Context, pool *pgxpool.Pool) (int, error) {
		const text = `SELECT number, id FROM (SELECT row_number() OVER (ORDER BY id) AS number, id FROM latchkey_sessions ORDER BY id LIMIT $1) AS sample
			ORDER BY number DESC LIMIT 1`
		var read int
		var id []byte
		if err := pool.QueryRow(ctx, text, store.Sample).Scan(&read, &id); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return 0, err
		}
		var last store.SessionID
		copy(last[:], id)
		return store.Estimate(read, last), nil
	})
}

func sessionIDs(raw [][]byte) ([]store.SessionID, error) {
	var ids []store.SessionID
	for _, text := range raw {
		var id store.SessionID
		if copy(id[:], text) != len(text) || len(text) != len(id) {
			return nil, fmt.Errorf("a session id has %d bytes", len(text))
		}
		ids = append(ids, id)
	}
	return ids, nil
}
