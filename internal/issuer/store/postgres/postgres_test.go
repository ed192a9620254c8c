package postgres_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/postgres"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/test/servers"
)

// options let a busy machine take its time.
var options = postgres.Options{Owner: "default/shop", Patience: time.Minute}

func TestStore(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	storetest.Suite{Shared: true, New: func(t *testing.T) storetest.Open { return newDatabase(t, server) }}.Run(t)
}

func TestOutages(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	storetest.RunOutages(t, server, newImpatient(t, server.Database(t)))
}

// newImpatient gives up as soon as it does for users.
func newImpatient(t testing.TB, url string) storetest.Open {
	return func() store.Store {
		s := postgres.New(postgres.Options{Owner: options.Owner})
		if err := s.Use(url, nil); err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func newDatabase(t testing.TB, server *servers.PostgreSQL) storetest.Open {
	dsn := server.Database(t)
	return func() store.Store { return use(t, dsn) }
}

func use(t testing.TB, dsn string) *postgres.Store {
	t.Helper()
	s := postgres.New(options)
	if err := s.Use(dsn, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUseRefuses(t *testing.T) {
	for _, tc := range []struct{ name, url, want string }{
		{"another scheme", "mysql://u:hunter2@db.example/x", "must be a URL like"},
		{"keywords and values", "host=db.example password=hunter2", "must be a URL like"},
		{"no host", "postgres:///hunter2", "must name a host"},
		{"no TLS", "postgres://u:hunter2@db.example/x?sslmode=disable", "sslmode: must be verify-full"},
		{"TLS if the server likes", "postgres://u:hunter2@db.example/x?sslmode=prefer", "sslmode: must be verify-full"},
		{"TLS with anybody", "postgres://u:hunter2@db.example/x?sslmode=require", "sslmode: must be verify-full"},
		{"a file", "postgres://u:hunter2@db.example/x?sslrootcert=/etc/hunter2", "is not understood"},
		{"a service file", "postgres://u:hunter2@db.example/x?servicefile=/etc/hunter2", "is not understood"},
		{"two hosts", "postgres://u:hunter2@10.0.0.1:5432,db.example:5432/x", "must name a host, and one alone"},
		{"a host beside a loopback address", "postgres://u:hunter2@127.0.0.1/x?host=db.example&sslmode=disable", "more than once"},
		{"durability turned off", "postgres://u:hunter2@db.example/x?options=-csynchronous_commit=off", "is not understood"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := postgres.New(options).Use(tc.url, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want an error that says %q and not the URL", err, tc.want)
			}
		})
	}
	if err := postgres.New(options).Use("postgres://db.example/x", []byte("no certificate")); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("got %v, want the authority refused", err)
	}
	if _, _, err := postgres.New(options).Stream(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("before it has a URL: got %v, want ErrUnavailable", err)
	}
}

func TestADatabaseThatIsNotFitIsRefused(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	t.Run("another TokenIssuer's", func(t *testing.T) {
		dsn := server.Database(t)
		s := use(t, dsn)
		defer s.Close()
		if _, _, err := s.Stream(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := postgres.New(postgres.Options{Owner: "default/other"})
		if err := other.Use(dsn, nil); err != nil {
			t.Fatal(err)
		}
		refused(t, other, "another TokenIssuer than default/other")
	})
	t.Run("a newer release's", func(t *testing.T) {
		dsn := server.Database(t)
		server.Do(t, dsn, "CREATE TABLE latchkey_schema (version INTEGER NOT NULL); INSERT INTO latchkey_schema VALUES (99)")
		refused(t, use(t, dsn), "written by a newer release")
	})
	t.Run("one that is not UTF-8", func(t *testing.T) {
		dsn := server.Database(t)
		server.Do(t, dsn, "CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
		refused(t, use(t, dsn[:strings.LastIndex(dsn, "/")]+"/latin"), "must be UTF8")
	})
	t.Run("a wrong password", func(t *testing.T) {
		refused(t, use(t, strings.Replace(server.Database(t), servers.Password, "wrong-one", 1)), "authentication failed")
	})
	t.Run("a server that would forget", func(t *testing.T) {
		refused(t, use(t, servers.StartPostgreSQL(t, "fsync=off").Database(t)), "turn fsync on")
	})
}

// refused checks that a store says why it does not work, and no password.
func refused(t *testing.T, s *postgres.Store, want string) {
	t.Helper()
	defer s.Close()
	_, _, err := s.Stream(t.Context())
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want ErrUnavailable that says %q", err, want)
	}
	if text := fmt.Sprintf("%+v %#v", err, err); strings.Contains(text, servers.Password) || strings.Contains(text, "wrong-one") {
		t.Errorf("the error tells a password: %s", text)
	}
}

// Beside each migration lies what undoes it, as docs/stores.md promises to those who go back to an older release.
func TestEveryMigrationCanBeUndone(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	dsn := server.Database(t)
	for range 2 {
		s := use(t, dsn)
		if _, err := s.Create(t.Context(), store.Session{ID: store.NewSessionID(), User: "alice"}, store.Limit{Sessions: 1}, store.Horizon{}); err != nil {
			t.Fatal(err)
		}
		s.Close()
		files, err := filepath.Glob("migrations/*.undo.sql")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for i := len(files) - 1; i >= 0; i-- {
			script, err := os.ReadFile(files[i])
			if err != nil {
				t.Fatal(err)
			}
			server.Do(t, dsn, fmt.Sprintf("BEGIN; %s UPDATE latchkey_schema SET version = %d; COMMIT", script, i))
		}
	}
	server.Do(t, dsn, `DO $$ BEGIN IF EXISTS (SELECT FROM pg_class WHERE relname LIKE 'latchkey%' AND relname <> 'latchkey_schema')
		OR EXISTS (SELECT FROM pg_proc WHERE proname LIKE 'latchkey%') THEN RAISE 'something is left'; END IF; END $$`)
}

func TestANewPasswordIsUsedFromThenOn(t *testing.T) {
	server := servers.StartPostgreSQL(t)
	dsn := server.Database(t)
	s := use(t, dsn)
	defer s.Close()
	before, _, err := s.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server.Do(t, dsn, "CREATE ROLE next SUPERUSER LOGIN PASSWORD 'next-password'")
	if err = s.Use(strings.Replace(dsn, "latchkey:"+servers.Password, "next:next-password", 1), nil); err != nil {
		t.Fatal(err)
	}
	server.Do(t, strings.Replace(dsn, "latchkey:"+servers.Password, "next:next-password", 1), `ALTER ROLE latchkey NOLOGIN;
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'latchkey'`)
	after, _, err := s.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Error("the database is another one")
	}
}

func TestTheServersCertificateIsChecked(t *testing.T) {
	ca, certificate := storetest.Certificate(t)
	url := servers.StartPostgreSQLWithTLS(t, certificate.CertPEM(), certificate.KeyPEM()).Database(t) + "?sslmode=verify-full"
	storetest.RunCertificates(t, url, ca, func(url string, authorities []byte) (store.Store, error) {
		s := postgres.New(options)
		return s, s.Use(url, authorities)
	})
}
