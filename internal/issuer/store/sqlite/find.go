package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// mostFound is how many sessions one statement finds. Each size needs a statement of its own: there are those for 1, 2, 4 and so on.
const mostFound = 32

// finder finds the sessions by one statement that are asked for at the same time. To SQLite they are one transaction: it looks once whether somebody has written, and
// forgets once what it had read before.
type finder = store.Together[store.SessionID, store.Session]

type askedFind = store.Asked[store.SessionID, store.Session]

// prepareFind makes the statements that find up to 1, 2, 4 and more sessions.
func prepareFind(ctx context.Context, look *sql.DB) (all []*sql.Stmt, _ error) {
	const text = `SELECT id, user_name, secret, counter, created_at, rotated_at, access_until, address, user_agent, data FROM `
	for size := 1; size <= mostFound; size *= 2 {
		from := `sessions WHERE id = ?`
		if size > 1 { // in this order: the few look for their like among the many
			from = `(VALUES (?)` + strings.Repeat(`, (?)`, size-1) + `) AS asked CROSS JOIN sessions ON id = asked.column1`
		}
		statement, err := look.PrepareContext(ctx, text+from) //nolint:sqlclosecheck // closed with the database
		if err != nil {
			return nil, err
		}
		all = append(all, statement)
	}
	return all, nil
}

// findAll answers all of a batch. When a statement fails, each is looked up alone: what one asks for may lie on a damaged page, and the others do not pay for it.
func (s *Store) findAll(batch []*askedFind) {
	for part := range slices.Chunk(batch, mostFound) {
		found, err := s.findTogether(part)
		if err != nil && len(part) > 1 {
			for i := range part {
				s.findAll(part[i : i+1])
			}
			continue
		}
		for _, each := range part {
			one, there := found[each.Question]
			switch {
			case err != nil:
				each.Settle(store.Session{}, err)
			case !there:
				each.Settle(store.Session{}, store.ErrNotFound)
			default:
				each.Settle(one.session, one.err)
			}
		}
	}
}

// answer is what one row says.
type answer struct {
	session store.Session
	err     error
}

// findTogether returns the sessions that there are.
func (s *Store) findTogether(part []*askedFind) (map[store.SessionID]answer, error) {
	exponent := bits.Len(uint(len(part) - 1))
	ids := make([]any, 1<<exponent) // NULL is no session's
	for i, each := range part {
		ids[i] = each.Question[:]
	}
	rows, err := s.find[exponent].QueryContext(context.Background(), ids...) // of several callers, each with a context
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // what went wrong, Err says
	found := make(map[store.SessionID]answer, len(part))
	for rows.Next() {
		var one store.Session
		var id, secret sql.RawBytes
		var created, rotated, until int64
		if err := rows.Scan(&id, &one.User, &secret, &one.Counter, &created, &rotated, &until, &one.Device.Address, &one.Device.UserAgent, &one.Data); err != nil {
			return nil, err
		}
		copy(one.ID[:], id)
		one.CreatedAt, one.RotatedAt, one.AccessUntil = time.UnixMilli(created), time.UnixMilli(rotated), time.Unix(until, 0)
		var fault error
		if copy(one.Secret[:], secret) != len(one.Secret) || len(secret) != len(one.Secret) {
			fault = fmt.Errorf("its secret has %d bytes", len(secret))
		}
		found[one.ID] = answer{one, fault}
	}
	return found, rows.Err()
}

// Find implements store.Store.
func (s *Store) Find(ctx context.Context, id store.SessionID) (store.Session, error) {
	found, err := s.finds.Ask(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.Session{}, store.ErrNotFound
	case err != nil:
		return store.Session{}, fmt.Errorf("find session: %w", err)
	}
	return found, nil
}
