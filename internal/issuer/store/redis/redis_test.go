package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/redis"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/test/servers"
)

// options let a busy machine take its time.
var options = redis.Options{Owner: "default/shop", Patience: time.Minute}

func TestStore(t *testing.T) {
	server := servers.StartRedis(t)
	storetest.Suite{Shared: true, New: func(t *testing.T) storetest.Open { return newDatabase(t, server) }}.Run(t)
}

func TestOutages(t *testing.T) {
	server := servers.StartRedis(t)
	storetest.RunOutages(t, server, newImpatient(t, server.Database()))
}

// newImpatient gives up as soon as it does for users.
func newImpatient(t testing.TB, url string) storetest.Open {
	return func() store.Store {
		s := redis.New(redis.Options{Owner: options.Owner})
		if err := s.Use(url, nil); err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func newDatabase(t testing.TB, server *servers.Redis) storetest.Open {
	url := server.Database()
	return func() store.Store { return use(t, url) }
}

func use(t testing.TB, url string) *redis.Store {
	t.Helper()
	s := redis.New(options)
	if err := s.Use(url, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUseRefuses(t *testing.T) {
	for _, tc := range []struct{ name, url, want string }{
		{"another scheme", "http://:hunter2@redis.example", "must be a URL like"},
		{"no URL at all", "hunter2\x7f", "must be a URL like"},
		{"no TLS", "redis://:hunter2@redis.example", "must be rediss://"},
		{"no TLS to a private address", "redis://:hunter2@10.0.0.1", "must be rediss://"},
		{"no host", "rediss://:hunter2@/0", "must name a host"},
		{"TLS that is not checked", "rediss://:hunter2@redis.example/0?skip_verify=true", "must have no parameters"},
		{"a database by name", "rediss://:hunter2@redis.example/hunter2", "must be a number"},
		{"a negative database", "rediss://:hunter2@redis.example/-1", "must be a number"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := redis.New(options).Use(tc.url, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want an error that says %q and not the URL", err, tc.want)
			}
		})
	}
	if err := redis.New(options).Use("rediss://redis.example", []byte("no certificate")); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("got %v, want the authority refused", err)
	}
	if _, _, err := redis.New(options).Stream(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("before it has a URL: got %v, want ErrUnavailable", err)
	}
}

func TestAServerThatWouldForgetIsRefused(t *testing.T) {
	for _, tc := range []struct {
		name     string
		settings []string
		want     string
	}{
		{"no log", []string{"appendonly", "no"}, "appendonly yes"},
		{"a log that is written now and then", []string{"appendfsync", "everysec"}, "appendfsync always"},
		{"a log that is not written while it is rewritten", []string{"no-appendfsync-on-rewrite", "yes"}, "no-appendfsync-on-rewrite no"},
		{"eviction", []string{"maxmemory-policy", "allkeys-lru"}, "maxmemory-policy noeviction"},
		{"settings that cannot be seen", []string{"rename-command", `CONFIG ""`}, "+config|get"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			refused(t, use(t, servers.StartRedis(t, tc.settings...).Database()), tc.want)
		})
	}
}

func TestADatabaseThatIsNotOursIsRefused(t *testing.T) {
	server := servers.StartRedis(t)
	t.Run("another TokenIssuer's", func(t *testing.T) {
		url := server.Database()
		s := use(t, url)
		if _, _, err := s.Stream(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := redis.New(redis.Options{Owner: "default/other"})
		if err := other.Use(url, nil); err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		refused(t, other, "another TokenIssuer than default/other")
		s.Close()
	})
	t.Run("a newer release's", func(t *testing.T) {
		url := server.Database()
		options, err := goredis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		client := goredis.NewClient(options)
		defer client.Close()
		if err := client.HSet(t.Context(), "{latchkey}:stream", "schema", 99).Err(); err != nil {
			t.Fatal(err)
		}
		refused(t, use(t, url), "written by a newer release")
	})
	t.Run("a wrong password", func(t *testing.T) {
		refused(t, use(t, strings.Replace(server.Database(), servers.Password, "wrong-password", 1)), "WRONGPASS")
	})
}

// refused checks that a store says why it does not work, and no password.
func refused(t *testing.T, s *redis.Store, want string) {
	t.Helper()
	defer s.Close()
	for doing, do := range map[string]func() error{
		"stream": func() error { _, _, err := s.Stream(t.Context()); return err },
		"find":   func() error { _, err := s.Find(t.Context(), store.NewSessionID()); return err },
		"rotate": func() error { _, err := s.Rotate(t.Context(), store.NewSessionID(), 1, store.Rotation{}); return err },
	} {
		err := do()
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want ErrUnavailable that says %q", doing, err, want)
		}
		if text := fmt.Sprintf("%+v %#v", err, err); strings.Contains(text, "password") && !strings.Contains(text, "username-password") {
			t.Errorf("%s: the error tells a password: %s", doing, text)
		}
	}
}

func TestANewURLIsUsedFromThenOn(t *testing.T) {
	one, two := servers.StartRedis(t), servers.StartRedis(t, "requirepass", "another-password")
	s := use(t, one.Database())
	defer s.Close()
	before, _, err := s.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err = s.Use(strings.Replace(two.Database(), servers.Password, "another-password", 1), nil); err != nil {
		t.Fatal(err)
	}
	one.Kill()
	after, _, err := s.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before == after {
		t.Error("two databases have one stream")
	}
}

func TestTheServersCertificateIsChecked(t *testing.T) {
	ca, certificate := storetest.Certificate(t)
	server, port := servers.StartRedisWithTLS(t, certificate.CertPEM(), certificate.KeyPEM())
	plain := server.Database()
	url := fmt.Sprintf("rediss%s:%d%s", plain[len("redis"):strings.LastIndex(plain, ":")], port, plain[strings.LastIndex(plain, "/"):])
	storetest.RunCertificates(t, url, ca, func(url string, authorities []byte) (store.Store, error) {
		s := redis.New(options)
		return s, s.Use(url, authorities)
	})
}
