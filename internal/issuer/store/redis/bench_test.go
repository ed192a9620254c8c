package redis_test

import (
	"context"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/test/servers"
)

func BenchmarkStore(b *testing.B) {
	url := servers.StartRedis(b).Database()
	s := use(b, url)
	defer s.Close()
	options, err := goredis.ParseURL(url)
	if err != nil {
		b.Fatal(err)
	}
	options.PoolSize, options.MaxActiveConns = 16, 16 // as many as the store has
	client := goredis.NewClient(options)
	defer client.Close()
	update := goredis.NewScript(`if redis.call('HGET', KEYS[1], 'counter') ~= ARGV[1] then return redis.error_reply('lost') end
		return redis.call('HINCRBY', KEYS[1], 'counter', 1)`)
	storetest.RunBenchmarks(b, s, func(id store.SessionID, counter int64) error {
		return update.Run(context.Background(), client, []string{"{latchkey}:session:" + id.String()}, counter).Err()
	})
}
