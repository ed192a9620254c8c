package postgres_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest/bare"
	"github.com/latchkey-dev/latchkey/test/servers"
)

func BenchmarkStore(b *testing.B) {
	dsn := servers.StartPostgreSQL(b).Database(b)
	s := use(b, dsn)
	defer s.Close()
	storetest.RunBenchmarks(b, s, bare.PostgreSQL(b, dsn))
}
