package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The files are applied in the order of their names, each once; latchkey_schema says how many the database has seen. A file that was
// released is never changed again. Beside each lies what undoes it, which people run by hand before they go back to an older release.
//
//go:embed migrations/*.sql
var migrations embed.FS

const undo = ".undo.sql"

func scripts() []string {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil { // of a malformed pattern
		panic(err)
	}
	return slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, undo) })
}

// undefinedTable is the SQLSTATE of a table that is not there.
const undefinedTable = "42P01"

// version is how many migrations the database has seen.
func version(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row
}) (int, error) {
	var seen int
	err := q.QueryRow(ctx, "SELECT version FROM latchkey_schema").Scan(&seen)
	if fault := (*pgconn.PgError)(nil); errors.As(err, &fault) && fault.Code == undefinedTable {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the schema: %w", err)
	}
	return seen, nil
}

// migrate brings the database to the latest schema in one transaction, so that a process killed on the way leaves the old one. Any number of
// processes may try at once: one does it, and the others wait for it and then have nothing to do.
func migrate(ctx context.Context, connection *pgx.Conn) error {
	files := scripts()
	if seen, err := version(ctx, connection); err != nil || seen == len(files) {
		return err
	}
	return pgx.BeginFunc(ctx, connection, func(tx pgx.Tx) error {
		// Longer than what a request may take: others wait for one whose migration takes its time.
		if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(1279349579)"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS latchkey_schema (version INTEGER NOT NULL)"); err != nil {
			return err
		}
		seen, err := version(ctx, tx)
		if errors.Is(err, pgx.ErrNoRows) {
			_, err = tx.Exec(ctx, "INSERT INTO latchkey_schema (version) VALUES (0)")
		}
		if err != nil {
			return err
		}
		if seen > len(files) {
			return fmt.Errorf("the schema has version %d, this program knows %d: it was written by a newer release", seen, len(files))
		}
		for _, name := range files[seen:] {
			script, fault := fs.ReadFile(migrations, name)
			if fault != nil {
				return fault
			}
			if _, err = tx.Exec(ctx, string(script)); err != nil {
				return fmt.Errorf("apply %s: %w", name, err)
			}
		}
		_, err = tx.Exec(ctx, "UPDATE latchkey_schema SET version = $1", len(files))
		return err
	})
}
