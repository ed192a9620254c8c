package servers

import (
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/latchkey-dev/latchkey/test/debian"
)

// Redis is a running server that keeps everything it is told: appendonly yes, appendfsync always.
type Redis struct {
	*Server
	address   string
	databases atomic.Int64
}

// StartRedis starts a Redis with these settings beside those that all tests have, such as "appendonly", "no". It ends with the test.
func StartRedis(t testing.TB, settings ...string) *Redis {
	t.Helper()
	program := debian.Program(t, "redis-server", "redis-server")
	dir := directory(t)
	host, port := address(t)
	r := &Redis{address: net.JoinHostPort(host, strconv.Itoa(port))}
	// Of a setting that is given twice, the last one counts.
	config := fmt.Sprintf("bind %s\nport %d\ndir %s\nappendonly yes\nappendfsync always\nsave \"\"\ndatabases 1000\nrequirepass %s\n", host, port, dir, Password)
	for i := 0; i+1 < len(settings); i += 2 {
		config += settings[i] + " " + settings[i+1] + "\n"
	}
	file := filepath.Join(dir, "redis.conf")
	write(t, file, config)
	r.Server = &Server{t: t, name: "Redis", log: filepath.Join(dir, "log"), command: func() *exec.Cmd { return exec.Command(program, file) },
		ready: func() error {
			client := redis.NewClient(&redis.Options{Addr: r.address, Password: Password, MaxRetries: -1, DialerRetries: 1})
			defer func() { _ = client.Close() }()
			return client.Ping(t.Context()).Err()
		}}
	t.Cleanup(r.Kill)
	r.Start()
	return r
}

// Database returns the URL of an empty database.
func (r *Redis) Database() string {
	return r.URL(int(r.databases.Add(1)))
}

// URL returns the URL of a database.
func (r *Redis) URL(database int) string {
	at := url.URL{Scheme: "redis", User: url.UserPassword("", Password), Host: r.address, Path: fmt.Sprintf("/%d", database)}
	return at.String()
}
