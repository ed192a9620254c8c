package redis

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// connections is how many one process has for its requests; one more listens for revocations.
	connections = 16
	// goodbye is how long connections to where the database was before may go on with what they are doing.
	goodbye = 10 * time.Second
)

// Use makes new connections go to the database at this URL (see docs/stores.md for which are taken), trusting these authorities, in PEM, or
// the system's when there are none. Connections to where it was before end with what they are doing. On an error nothing has changed.
func (s *Store) Use(url string, authorities []byte) error {
	options, err := target(url, authorities)
	if err != nil {
		return err
	}
	options.PoolSize, options.MaxActiveConns = connections, connections
	options.PipelinePoolSize = -1 // pipelines go by the same connections as all else
	options.ContextTimeoutEnabled = true
	connectTimeout := s.remote.Bound() * 2 / 5 // to reach the server and sign in: 2 s, unless more patience is asked for
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = connectTimeout, goodbye, goodbye, goodbye
	options.MaxRetries, options.DialerRetries = -1, 1 // who asked decides whether to ask again
	options.ConnMaxLifetime, options.ConnMaxIdleTime = time.Hour, 30*time.Minute
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	options.OnConnect = s.prove
	// A server that vanishes without a word is noticed in half a minute also where nobody waits for an answer.
	keepAlive := net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
	secure := options.TLSConfig
	options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := &net.Dialer{Timeout: connectTimeout, KeepAliveConfig: keepAlive}
		if secure != nil {
			return (&tls.Dialer{NetDialer: dialer, Config: secure}).DialContext(ctx, network, address)
		}
		return dialer.DialContext(ctx, network, address)
	}
	if old, ok := s.remote.Use(goredis.NewClient(options)); ok {
		time.AfterFunc(goodbye, func() { _ = old.Close() }) // nobody is left to tell
	}
	return nil
}

// prove makes sure, on each new connection, that the database at its other end keeps what it is told and is ours: it may be another one
// than a moment ago. The numbers of revocations move ahead; see store.Store.
func (s *Store) prove(ctx context.Context, connection *goredis.Conn) error {
	info, err := connection.Info(ctx).Result()
	if err != nil {
		return err
	}
	facts := map[string]string{}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		facts[name] = value
	}
	switch {
	case facts["redis_mode"] != "standalone":
		return fmt.Errorf("it runs in mode %q: it must be a standalone server, or one that Sentinel watches", facts["redis_mode"])
	case facts["role"] != "master":
		return errors.New("it is a replica, which takes no writes: name the primary")
	case facts["aof_enabled"] != "1":
		return errors.New("it keeps no log, and would forget sessions: set appendonly yes")
	case facts["maxmemory_policy"] != "noeviction":
		return fmt.Errorf("it forgets what it has no memory for (%s): set maxmemory-policy noeviction", facts["maxmemory_policy"])
	}
	fsync, err := connection.ConfigGet(ctx, "*appendfsync*").Result()
	switch {
	case err != nil:
		return fmt.Errorf("whether it keeps what it is told cannot be seen; allow the user CONFIG GET (+config|get): %s", err.Error()) // the driver would tell what is wrapped instead
	case fsync["appendfsync"] != "always":
		return fmt.Errorf("it writes its log only now and then (appendfsync %s), and would forget sessions: set appendfsync always", fsync["appendfsync"])
	case fsync["no-appendfsync-on-rewrite"] != "no":
		return errors.New("it does not write its log while it rewrites it, and would forget sessions: set no-appendfsync-on-rewrite no")
	}
	var name [16]byte
	rand.Read(name[:])
	switch verdict, err := proving.Run(ctx, connection, nil, schema, s.owner, hex.EncodeToString(name[:])).Text(); {
	case err != nil:
		return err
	case verdict == "newer":
		return errors.New("it was written by a newer release")
	case verdict == "foreign":
		return fmt.Errorf("it holds the sessions of another TokenIssuer than %s: each needs a database of its own", s.owner)
	}
	return nil
}
