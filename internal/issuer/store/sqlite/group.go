package sqlite

import (
	"context"
	"database/sql"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// change is one statement, which is made whole or not at all.
type change func(context.Context, *sql.Tx) error

// group makes changes that are asked for at the same time in one transaction, so that the disk is waited for once. Nobody is told of a change before it is
// durable, and what becomes of one is no other's business.
type group = store.Together[change, struct{}]

type asked = store.Asked[change, struct{}]

func newGroup(db *sql.DB) *group {
	return &group{AtOnce: 1, Go: func(batch []*asked) { commit(context.Background(), db, batch) }} // of several callers, each with a context
}

// commit makes changes in one transaction. When one of them fails, none is made, and then each alone, so that the others do not pay for it.
func commit(ctx context.Context, db *sql.DB, batch []*asked) {
	made, err := transact(ctx, db, batch)
	if err != nil && !made && len(batch) > 1 {
		for i := range batch {
			commit(ctx, db, batch[i:i+1])
		}
		return
	}
	for _, each := range batch {
		each.Settle(struct{}{}, err)
	}
}

// transact reports whether all changes were made; with an error, they may not be durable.
func transact(ctx context.Context, db *sql.DB, batch []*asked) (made bool, _ error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // of no effect after Commit
	for _, each := range batch {
		if err := each.Question(ctx, tx); err != nil {
			return false, err
		}
	}
	return true, tx.Commit()
}
