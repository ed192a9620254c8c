package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// goesAtOnce is how many statements may be under way that find sessions, and how many that rotate them. With one, who has just missed it waits for two round trips;
// with many, each has little to do.
const goesAtOnce = 2

// rotation is what Rotate was asked for.
type rotation struct {
	id      store.SessionID
	counter int64
	to      store.Rotation
}

type (
	askedFind     = store.Asked[store.SessionID, store.Session]
	askedRotation = store.Asked[rotation, bool]
)

// reach is where to ask, and for how long, on behalf of several callers.
func (s *Store) reach() (*pgxpool.Pool, context.Context, context.CancelFunc) {
	pool, _ := s.remote.Used() // whoever asks has been here before
	ctx, cancel := context.WithTimeout(context.Background(), s.remote.Bound())
	return pool, ctx, cancel
}

// findAll finds sessions by one statement.
func (s *Store) findAll(batch []*askedFind) {
	pool, ctx, cancel := s.reach()
	defer cancel()
	found, faults, err := find(ctx, pool, batch)
	for _, each := range batch {
		id := each.Question
		one, there := found[id]
		switch {
		case err != nil:
			each.Settle(store.Session{}, err)
		case faults[id] != nil:
			each.Settle(store.Session{}, faults[id])
		case !there:
			each.Settle(store.Session{}, store.ErrNotFound)
		default:
			each.Settle(one, nil)
		}
	}
}

// find returns the sessions that there are, and what is wrong with some.
func find(ctx context.Context, pool *pgxpool.Pool, batch []*askedFind) (found map[store.SessionID]store.Session, faults map[store.SessionID]error, _ error) {
	const columns = `SELECT id, user_name, secret, counter, created_at, rotated_at, access_until, address, user_agent, data FROM latchkey_sessions `
	var rows pgx.Rows
	if len(batch) == 1 { // costs the server less so
		rows, _ = pool.Query(ctx, columns+`WHERE id = $1`, batch[0].Question[:]) // the rows tell
	} else {
		ids := make([][]byte, len(batch))
		for i, each := range batch {
			ids[i] = each.Question[:]
		}
		rows, _ = pool.Query(ctx, columns+`WHERE id = ANY ($1)`, ids) // the rows tell
	}
	found = make(map[store.SessionID]store.Session, len(batch))
	var one store.Session
	var id, secret []byte
	var created, rotated, until int64
	_, err := pgx.ForEachRow(rows, []any{&id, &one.User, &secret, &one.Counter, &created, &rotated, &until, &one.Device.Address, &one.Device.UserAgent, &one.Data}, func() error {
		copy(one.ID[:], id)
		if copy(one.Secret[:], secret) != len(secret) || len(secret) != len(one.Secret) {
			if faults == nil {
				faults = map[store.SessionID]error{}
			}
			faults[one.ID] = fmt.Errorf("its secret has %d bytes", len(secret))
		}
		one.CreatedAt, one.RotatedAt, one.AccessUntil = time.UnixMilli(created), time.UnixMilli(rotated), time.Unix(until, 0)
		found[one.ID] = one
		return nil
	})
	return found, faults, err
}

// rotateAll rotates sessions by one statement, which waits for nobody and never fails because of one of them: whatever it has not rotated, because somebody else is at it, or
// because it is asked for twice, or because there is no such counter, is rotated alone, if it can be.
func (s *Store) rotateAll(batch []*askedRotation) {
	if len(batch) == 1 {
		batch[0].Settle(s.rotateOne(batch[0].Question))
		return
	}
	first := make(map[store.SessionID]*askedRotation, len(batch))
	var strays []*askedRotation
	for _, each := range batch {
		if first[each.Question.id] == nil {
			first[each.Question.id] = each
		} else {
			strays = append(strays, each)
		}
	}
	rotated, err := s.rotateTogether(first)
	for id, each := range first {
		var refused *pgconn.PgError
		switch {
		case rotated[id]:
			each.Settle(true, nil)
		case err == nil, errors.As(err, &refused): // the server has done nothing of it
			strays = append(strays, each)
		default:
			each.Settle(false, err)
		}
	}
	for _, each := range strays {
		s.strays.Go(func() { each.Settle(s.rotateOne(each.Question)) })
	}
}

// rotateTogether returns those that it has rotated.
func (s *Store) rotateTogether(all map[store.SessionID]*askedRotation) (map[store.SessionID]bool, error) {
	pool, ctx, cancel := s.reach()
	defer cancel()
	var ids [][]byte
	var counters, ats, untils []int64
	var addresses, agents []string
	for _, each := range all {
		q := &each.Question
		ids, counters, ats, untils = append(ids, q.id[:]), append(counters, q.counter), append(ats, q.to.At.UnixMilli()), append(untils, q.to.AccessUntil.Unix())
		addresses, agents = append(addresses, q.to.Device.Address), append(agents, q.to.Device.UserAgent)
	}
	// Rows that somebody holds are left out: two of these that wait for each other's would be a deadlock.
	rows, _ := pool.Query(ctx, `WITH free AS MATERIALIZED (SELECT s.id FROM latchkey_sessions s WHERE s.id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED)
		UPDATE latchkey_sessions s
		SET counter = s.counter + 1, rotated_at = r.at, access_until = greatest(s.access_until, r.until), address = r.address, user_agent = r.agent
		FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[]) AS r (id, counter, at, until, address, agent), free
		WHERE s.id = r.id AND s.counter = r.counter AND s.id = free.id RETURNING s.id`, ids, counters, ats, untils, addresses, agents) // the rows tell
	rotated := make(map[store.SessionID]bool, len(all))
	var raw []byte
	_, err := pgx.ForEachRow(rows, []any{&raw}, func() error {
		var id store.SessionID
		copy(id[:], raw)
		rotated[id] = true
		return nil
	})
	if err != nil {
		return nil, err // whatever it said before, it has not said that it is durable
	}
	return rotated, nil
}

// rotateOne waits for whoever is at the session.
func (s *Store) rotateOne(q rotation) (bool, error) {
	pool, ctx, cancel := s.reach()
	defer cancel()
	tag, err := pool.Exec(ctx, `UPDATE latchkey_sessions
		SET counter = counter + 1, rotated_at = $3, access_until = greatest(access_until, $4), address = $5, user_agent = $6
		WHERE id = $1 AND counter = $2`, q.id[:], q.counter, q.to.At.UnixMilli(), q.to.AccessUntil.Unix(), q.to.Device.Address, q.to.Device.UserAgent)
	return tag.RowsAffected() > 0, err
}
