package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer/store/sqlite"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest/bare"
)

func BenchmarkStore(b *testing.B) {
	path := filepath.Join(b.TempDir(), "sessions.db")
	s, err := sqlite.Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	storetest.RunBenchmarks(b, s, bare.SQLite(b, path))
}
