package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
)

// The files are applied in the order of their names, each once; the database's user_version says how many it has seen. A file that was
// released is never changed again.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the database to the latest schema in one transaction, so that a process killed on the way leaves the old one.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil) // immediate: the second of two processes waits here, and then has nothing to do
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of no effect after Commit

	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(files) {
		return fmt.Errorf("the schema has version %d, this program knows %d: it was written by a newer release", version, len(files))
	}
	for ; version < len(files); version++ {
		script, err := fs.ReadFile(migrations, files[version])
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(script)); err != nil {
			return fmt.Errorf("apply %s: %w", files[version], err)
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version+1)); err != nil {
			return err
		}
	}
	return tx.Commit()
}
