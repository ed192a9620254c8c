package redis_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest/bare"
	"github.com/latchkey-dev/latchkey/test/servers"
)

func BenchmarkStore(b *testing.B) {
	url := servers.StartRedis(b).Database()
	s := use(b, url)
	defer s.Close()
	storetest.RunBenchmarks(b, s, bare.Redis(b, url))
}
