// Package sqlite keeps sessions in one SQLite file. It knows SQL and durability; it decides nothing about sessions.
//
// The file is in WAL mode with synchronous=FULL: a commit that was reported survives the loss of power. All writing goes through one
// connection, whose queue is fairer than SQLite's own lock; reading never waits for it.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver, in Go: no C compiler, and a binary that runs FROM scratch

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// readers is how many connections read at once, beside the one that looks sessions up.
const readers = 3

// busy is how long to wait for another process, in milliseconds: the one that is being replaced. SQLite gives the lock to whoever happens to look, so on a slow disk it may
// take a while.
const busy = "busy_timeout(60000)"

// Store is a store.Store in a file.
type Store struct {
	path  string
	write *sql.DB // one connection
	read  *sql.DB
	look  *sql.DB // one connection, for find alone: turns are drawn by lot, and all whom finds asks for would be one among those who list

	changes *group  // by write
	finds   *finder // by look

	find                                                      []*sql.Stmt // prepareFind
	list, rotate, extend, stream, revocations, count, uncount *sql.Stmt

	pruning sync.Mutex
	pruned  store.SessionID // the last one that Prune looked at
}

var _ store.Store = (*Store)(nil)

// Open opens the database in the file path, creating it and bringing its schema up to date where needed.
func Open(ctx context.Context, path string) (*Store, error) {
	s, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string) (_ *Store, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// The file holds the secrets of sessions; SQLite gives its companions (-wal, -shm) the same mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the path is the operator's own
	if err != nil {
		return nil, err
	}
	if err = file.Close(); err != nil {
		return nil, err
	}

	s := &Store{path: path}
	defer func() {
		if err != nil {
			_ = s.Close() // why it was not opened matters more
		}
	}()
	if s.write, err = connect(path, 1, url.Values{
		"_txlock": {"immediate"},
		"_pragma": {busy, "journal_mode(WAL)", "synchronous(FULL)", "trusted_schema(0)"},
	}); err != nil {
		return nil, err
	}
	if err = migrate(ctx, s.write); err != nil {
		return nil, err
	}
	if _, err = s.write.ExecContext(ctx, `UPDATE revocation_stream SET last = max(last, ?)`, time.Now().UnixMicro()); err != nil {
		return nil, err
	}
	reading := url.Values{"_pragma": {busy, "query_only(1)", "trusted_schema(0)"}}
	if s.read, err = connect(path, readers, reading); err != nil {
		return nil, err
	}
	if s.look, err = connect(path, 1, reading); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		into **sql.Stmt
		db   *sql.DB
		text string
	}{
		{&s.list, s.read, `SELECT id, counter, created_at, rotated_at, access_until, address, user_agent, data
			FROM sessions WHERE user_name = ? ORDER BY created_at DESC, id`},
		{&s.rotate, s.write, `UPDATE sessions SET counter = counter + 1, rotated_at = ?3, access_until = max(access_until, ?4), address = ?5, user_agent = ?6
			WHERE id = ?1 AND counter = ?2`},
		{&s.extend, s.write, `UPDATE sessions SET access_until = max(access_until, ?3) WHERE id = ?1 AND counter = ?2`},
		{&s.stream, s.read, `SELECT name, last FROM revocation_stream`},
		{&s.revocations, s.read, `SELECT number, session_id, revoked_until FROM revocations WHERE number > ? ORDER BY number LIMIT ?`},
		{&s.count, s.write, `INSERT INTO counters (key, hits, ends_at) VALUES (?1, 1, ?2 + ?3)
			ON CONFLICT (key) DO UPDATE SET hits = iif(ends_at <= ?2, 1, hits + 1), ends_at = iif(ends_at <= ?2, excluded.ends_at, ends_at)
			RETURNING hits, ends_at`},
		{&s.uncount, s.write, `UPDATE counters SET hits = hits - 1 WHERE key = ? AND hits > 0 AND ends_at > ?`},
	} {
		if *p.into, err = p.db.PrepareContext(ctx, p.text); err != nil { //nolint:sqlclosecheck // Close closes the databases, and these with them
			return nil, err
		}
	}
	if s.find, err = prepareFind(ctx, s.look); err != nil {
		return nil, err
	}
	s.changes = newGroup(s.write) //nolint:contextcheck // it outlives ctx
	s.finds = &finder{AtOnce: 1, Go: s.findAll}
	return s, nil
}

func connect(path string, connections int, query url.Values) (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// Close lets go of the file.
func (s *Store) Close() error {
	if s.changes != nil {
		s.changes.Wait() // for what was asked by somebody who did not wait
		s.finds.Wait()
	}
	var faults []error
	for _, db := range []*sql.DB{s.look, s.read, s.write} { // the last connection to close folds the WAL into the file
		if db != nil {
			faults = append(faults, db.Close())
		}
	}
	return errors.Join(faults...)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, user string) ([]store.Session, error) {
	rows, err := s.list.QueryContext(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return scan(rows, "list sessions", func() (store.Session, error) {
		found := store.Session{User: user}
		var id []byte
		var created, rotated, until int64
		err := rows.Scan(&id, &found.Counter, &created, &rotated, &until, &found.Device.Address, &found.Device.UserAgent, &found.Data)
		copy(found.ID[:], id)
		found.CreatedAt, found.RotatedAt, found.AccessUntil = time.UnixMilli(created), time.UnixMilli(rotated), time.Unix(until, 0)
		return found, err
	})
}

// Rotate implements store.Store.
func (s *Store) Rotate(ctx context.Context, id store.SessionID, counter int64, r store.Rotation) (bool, error) {
	return s.change(ctx, "rotate session", s.rotate, id[:], counter, r.At.UnixMilli(), r.AccessUntil.Unix(), r.Device.Address, r.Device.UserAgent)
}

// Extend implements store.Store.
func (s *Store) Extend(ctx context.Context, id store.SessionID, counter int64, accessUntil time.Time) (bool, error) {
	return s.change(ctx, "extend session", s.extend, id[:], counter, accessUntil.Unix())
}

// change makes a conditional update, and reports whether it met its condition.
func (s *Store) change(ctx context.Context, doing string, statement *sql.Stmt, arguments ...any) (bool, error) {
	var rows int
	if _, err := s.changes.Ask(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		rows, err = affected(tx.StmtContext(ctx, statement).ExecContext(ctx, arguments...)) //nolint:sqlclosecheck // closed with the transaction
		return err
	}); err != nil {
		return false, fmt.Errorf("%s: %w", doing, err)
	}
	return rows > 0, nil
}

// affected is how many rows a statement changed.
func affected(result sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	rows, err := result.RowsAffected()
	return int(rows), err
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, n store.Session, l store.Limit, h store.Horizon) ([]store.SessionID, error) {
	var ended []store.SessionID
	err := s.transact(ctx, "create session", func(tx *sql.Tx) error {
		over, err := sessionIDs(tx.QueryContext(ctx, `SELECT id FROM sessions WHERE user_name = ? AND (created_at < ? OR rotated_at < ?)`,
			n.User, h.CreatedBefore.UnixMilli(), h.RotatedBefore.UnixMilli()))
		if err != nil {
			return err
		}
		if err = endEach(ctx, tx, over, n.CreatedAt); err != nil {
			return err
		}
		// All but the newest: these, and the new one, stay.
		ended, err = sessionIDs(tx.QueryContext(ctx, `SELECT id FROM sessions WHERE user_name = ? ORDER BY created_at DESC, id LIMIT -1 OFFSET ?`,
			n.User, max(l.Sessions-1, 0)))
		if err != nil {
			return err
		}
		if l.Refuse && len(ended) > 0 {
			return store.ErrLimit
		}
		if err = endEach(ctx, tx, ended, n.CreatedAt); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO sessions (id, user_name, secret, counter, created_at, rotated_at, access_until, address, user_agent, data)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, n.ID[:], n.User, n.Secret[:], n.Counter, n.CreatedAt.UnixMilli(), n.RotatedAt.UnixMilli(),
			n.AccessUntil.Unix(), n.Device.Address, n.Device.UserAgent, n.Data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// End implements store.Store.
func (s *Store) End(ctx context.Context, id store.SessionID, now time.Time) (ended bool, err error) {
	err = s.transact(ctx, "end session", func(tx *sql.Tx) error {
		ended, err = end(ctx, tx, id, now)
		return err
	})
	return ended, err
}

// EndAll implements store.Store. It looks before it asks to write: whoever is signed in may ask for it as often as they like.
func (s *Store) EndAll(ctx context.Context, user string, except store.SessionID, now time.Time) (ended []store.SessionID, err error) {
	const text = `SELECT id FROM sessions WHERE user_name = ? AND id <> ? ORDER BY created_at DESC, id`
	ended, err = sessionIDs(s.read.QueryContext(ctx, text, user, except[:]))
	if err != nil {
		return nil, fmt.Errorf("end sessions: %w", err)
	}
	if len(ended) == 0 {
		return nil, nil
	}
	err = s.transact(ctx, "end sessions", func(tx *sql.Tx) error {
		ended, err = sessionIDs(tx.QueryContext(ctx, text, user, except[:]))
		if err != nil {
			return err
		}
		return endEach(ctx, tx, ended, now)
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

func endEach(ctx context.Context, tx *sql.Tx, ids []store.SessionID, now time.Time) error {
	for _, id := range ids {
		if _, err := end(ctx, tx, id, now); err != nil {
			return err
		}
	}
	return nil
}

// end is what ending a session means, everywhere.
func end(ctx context.Context, tx *sql.Tx, id store.SessionID, now time.Time) (bool, error) {
	var accessUntil int64
	err := tx.QueryRowContext(ctx, `DELETE FROM sessions WHERE id = ? RETURNING access_until`, id[:]).Scan(&accessUntil)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	until := time.Unix(accessUntil, 0).Add(revocation.Leeway)
	if !until.After(now) {
		return true, nil
	}
	var number int64
	if err = tx.QueryRowContext(ctx, `UPDATE revocation_stream SET last = last + 1 RETURNING last`).Scan(&number); err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO revocations (number, session_id, revoked_until) VALUES (?, ?, ?)`, number, id[:], until.Unix())
	return true, err
}

// Stream implements store.Store.
func (s *Store) Stream(ctx context.Context) (name string, last int64, err error) {
	if err := s.stream.QueryRowContext(ctx).Scan(&name, &last); err != nil {
		return "", 0, fmt.Errorf("read revocation stream: %w", err)
	}
	return name, last, nil
}

// Revocations implements store.Store.
func (s *Store) Revocations(ctx context.Context, after int64, limit int) ([]store.Revocation, error) {
	rows, err := s.revocations.QueryContext(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	return scan(rows, "read revocations", func() (store.Revocation, error) {
		var r store.Revocation
		var id []byte
		var until int64
		err := rows.Scan(&r.Number, &id, &until)
		copy(r.Session[:], id)
		r.Until = time.Unix(until, 0)
		return r, err
	})
}

// Follow implements store.Store: no other process uses the file.
func (s *Store) Follow(ctx context.Context, _ func()) { <-ctx.Done() }

// Count implements store.Store.
func (s *Store) Count(ctx context.Context, key store.CounterKey, window time.Duration, now time.Time) (hits int, until time.Time, _ error) {
	var counted, ends int64
	if _, err := s.changes.Ask(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return tx.StmtContext(ctx, s.count).QueryRowContext(ctx, key[:], now.UnixMilli(), window.Milliseconds()).Scan(&counted, &ends) //nolint:sqlclosecheck // closed with the transaction
	}); err != nil {
		return 0, time.Time{}, fmt.Errorf("count: %w", err)
	}
	return int(counted), time.UnixMilli(ends), nil
}

// Uncount implements store.Store.
func (s *Store) Uncount(ctx context.Context, key store.CounterKey, now time.Time) error {
	_, err := s.change(ctx, "uncount", s.uncount, key[:], now.UnixMilli())
	return err
}

// Time implements store.Store: the one process has the one clock.
func (s *Store) Time(_ context.Context, now time.Time) (time.Time, error) { return now, nil }

// Prune implements store.Store. It looks for what to delete before it asks to write, for looking may take a while and nobody should wait.
func (s *Store) Prune(ctx context.Context, h store.Horizon, now time.Time, limit int) (sessions, revocations int, _ error) {
	const condition = `(created_at < ?1 OR rotated_at < ?2) AND access_until < ?3`
	arguments := []any{h.CreatedBefore.UnixMilli(), h.RotatedBefore.UnixMilli(), now.Add(-revocation.Leeway).Unix()}
	s.pruning.Lock()
	defer s.pruning.Unlock()
	over, next, err := s.overdue(ctx, limit, `SELECT id, `+condition+` FROM sessions WHERE id > ?4 ORDER BY id LIMIT ?5`,
		append(arguments[:3:3], s.pruned[:], store.Part)...)
	if err != nil {
		return 0, 0, fmt.Errorf("prune: %w", err)
	}
	err = s.transact(ctx, "prune", func(tx *sql.Tx) error {
		sessions = 0
		for _, id := range over {
			rows, fault := affected(tx.ExecContext(ctx, `DELETE FROM sessions WHERE `+condition+` AND id = ?4`, append(arguments[:3:3], id[:])...))
			if fault != nil {
				return fault
			}
			sessions += rows
		}
		var fault error
		if revocations, fault = affected(tx.ExecContext(ctx,
			`DELETE FROM revocations WHERE number IN (SELECT number FROM revocations WHERE revoked_until <= ? LIMIT ?)`, now.Unix(), limit)); fault != nil {
			return fault
		}
		_, fault = tx.ExecContext(ctx, `DELETE FROM counters WHERE key IN (SELECT key FROM counters WHERE ends_at <= ? LIMIT ?)`, now.UnixMilli(), limit)
		return fault
	})
	if err != nil {
		return sessions, revocations, err
	}
	s.pruned = next
	return sessions, revocations, s.trim(ctx)
}

func (s *Store) overdue(ctx context.Context, limit int, query string, arguments ...any) ([]store.SessionID, store.SessionID, error) {
	rows, err := s.read.QueryContext(ctx, query, arguments...) //nolint:rowserrcheck // Overdue asks
	if err != nil {
		return nil, store.SessionID{}, err
	}
	defer func() { _ = rows.Close() }() // what went wrong, Overdue says
	return store.Overdue(rows, limit)
}

// Sessions implements store.Store.
func (s *Store) Sessions(ctx context.Context) (int, error) {
	const text = `SELECT count(*), coalesce(max(id), x'') FROM (SELECT id FROM sessions ORDER BY id LIMIT ?)`
	var read int
	var id []byte
	if err := s.read.QueryRowContext(ctx, text, store.Sample).Scan(&read, &id); err != nil {
		return 0, fmt.Errorf("count sessions: %w", err)
	}
	var last store.SessionID
	copy(last[:], id)
	return store.Estimate(read, last), nil
}

// maxLog is how long the log may get. SQLite begins it anew by itself, but only in a moment when nobody reads, and under a flood there is none.
const maxLog = 64 << 20

// trim empties a log that has become too long. Whoever writes waits meanwhile.
func (s *Store) trim(ctx context.Context) error {
	if log, err := os.Stat(s.path + "-wal"); err != nil || log.Size() < maxLog {
		return nil //nolint:nilerr // there is no log
	}
	if _, err := s.write.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("empty the log: %w", err)
	}
	return nil
}

// transact runs do in a transaction that has the right to write from its start.
func (s *Store) transact(ctx context.Context, doing string, do func(*sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer func() { _ = tx.Rollback() }() // of no effect after Commit
	if err := do(tx); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func sessionIDs(rows *sql.Rows, err error) ([]store.SessionID, error) {
	if err != nil {
		return nil, err
	}
	return scan(rows, "read session ids", func() (id store.SessionID, _ error) {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return id, err
		}
		if copy(id[:], raw) != len(raw) || len(raw) != len(id) {
			return id, fmt.Errorf("a session id has %d bytes", len(raw))
		}
		return id, nil
	})
}

// scan reads all rows, each with one.
func scan[T any](rows *sql.Rows, doing string, one func() (T, error)) (all []T, _ error) {
	defer func() { _ = rows.Close() }() // what went wrong, Err says
	for rows.Next() {
		value, err := one()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		all = append(all, value)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return all, nil
}
