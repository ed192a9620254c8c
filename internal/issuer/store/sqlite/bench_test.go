package sqlite_test

import (
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/sqlite"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
)

func BenchmarkStore(b *testing.B) {
	path := filepath.Join(b.TempDir(), "sessions.db")
	s, err := sqlite.Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	query := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+query.Encode())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	update, err := db.Prepare(`UPDATE sessions SET counter = counter + 1 WHERE id = ? AND counter = ?`) //nolint:sqlclosecheck // closed with the database
	if err != nil {
		b.Fatal(err)
	}
	storetest.RunBenchmarks(b, s, func(id store.SessionID, counter int64) error {
		result, err := update.Exec(id[:], counter)
		if err != nil {
			return err
		}
		if rows, err := result.RowsAffected(); err != nil || rows == 0 {
			return errors.Join(err, errors.New("lost"))
		}
		return nil
	})
}
