package servers

import (
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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
	return startRedis(t, nil, settings)
}

// StartRedisWithTLS starts a Redis that speaks TLS with this certificate and key, in PEM, on a second port.
func StartRedisWithTLS(t testing.TB, certificate, key []byte) (_ *Redis, tlsPort int) {
	t.Helper()
	_, port := address(t)
	return startRedis(t, map[string][]byte{"tls.crt": certificate, "tls.key": key},
		[]string{"tls-port", strconv.Itoa(port), "tls-cert-file", "tls.crt", "tls-key-file", "tls.key", "tls-auth-clients", "no"}), port
}

func startRedis(t testing.TB, files map[string][]byte, settings []string) *Redis {
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
	for name, content := range files {
		write(t, filepath.Join(dir, name), string(content))
	}
	file := filepath.Join(dir, "redis.conf")
	write(t, file, config)
	r.Server = &Server{t: t, name: "Redis", log: filepath.Join(dir, "log"), command: func() *exec.Cmd { return exec.Command(program, file) },
		ready: func() error {
			if connection, err := net.DialTimeout("tcp", r.address, time.Second); err != nil { // the driver would log it
				return err
			} else if err := connection.Close(); err != nil {
				return err
			}
			client := redis.NewClient(&redis.Options{Addr: r.address, Password: Password, MaxRetries: -1, DialerRetries: 1})
			defer func() { _ = client.Close() }()
			err := client.Ping(t.Context()).Err()
			if err != nil && strings.Contains(err.Error(), "WRONGPASS") { // a test's own setting
				return nil
			}
			return err
		}}
	t.Cleanup(r.Kill)
	r.Start()
	return r
}

// Database returns the URL of an empty database.
func (r *Redis) Database() string {
	return r.URL(int(r.databases.Add(1)))
}

// Size is how many bytes of memory the server uses.
func (r *Redis) Size(t testing.TB) int64 {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: r.address, Password: Password})
	defer func() { _ = client.Close() }()
	info, err := client.InfoMap(t.Context(), "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// URL returns the URL of a database.
func (r *Redis) URL(database int) string {
	at := url.URL{Scheme: "redis", User: url.UserPassword("", Password), Host: r.address, Path: fmt.Sprintf("/%d", database)}
	return at.String()
}
