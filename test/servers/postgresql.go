package servers

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/latchkey-dev/latchkey/test/debian"
)

// Password is that of every user of a server here. It is in no test's log unless what is tested gives it away.
const Password = "the-password-of-the-database"

// PostgreSQL is a running server.
type PostgreSQL struct {
	*Server
	address   string
	databases atomic.Int64
}

// StartPostgreSQL starts a PostgreSQL with these settings beside those that all tests have, such as "fsync=off". It ends with the test.
func StartPostgreSQL(t testing.TB, settings ...string) *PostgreSQL {
	t.Helper()
	return startPostgreSQL(t, nil, settings)
}

// StartPostgreSQLWithTLS starts a PostgreSQL that speaks TLS with this certificate and key, in PEM.
func StartPostgreSQLWithTLS(t testing.TB, certificate, key []byte) *PostgreSQL {
	t.Helper()
	return startPostgreSQL(t, map[string][]byte{"tls.crt": certificate, "tls.key": key},
		[]string{"ssl=on", "ssl_cert_file=tls.crt", "ssl_key_file=tls.key"})
}

func startPostgreSQL(t testing.TB, files map[string][]byte, settings []string) *PostgreSQL {
	t.Helper()
	initdb := debian.Program(t, "/usr/lib/postgresql/*/bin/initdb", "postgresql")
	dir := directory(t)
	credential, attributes := unprivileged(t, dir)
	password := filepath.Join(dir, "password")
	write(t, password, Password)
	chown(t, credential, password)
	data := filepath.Join(dir, "data")
	initialise := exec.Command(initdb, "-D", data, "-U", "latchkey", "-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "--locale", "C", "--no-sync")
	initialise.SysProcAttr, initialise.Dir = attributes(), dir
	run(t, initialise)
	for name, content := range files {
		write(t, filepath.Join(data, name), string(content))
		chown(t, credential, filepath.Join(data, name))
	}

	host, port := address(t)
	p := &PostgreSQL{address: net.JoinHostPort(host, strconv.Itoa(port))}
	arguments := []string{"-D", data}
	for _, setting := range append([]string{
		"listen_addresses=" + host, "port=" + strconv.Itoa(port), "unix_socket_directories=" + dir,
		"max_connections=200", "shared_buffers=64MB", "timezone=Pacific/Chatham",
	}, settings...) {
		arguments = append(arguments, "-c", setting)
	}
	p.Server = &Server{t: t, name: "PostgreSQL", log: filepath.Join(dir, "log"), command: func() *exec.Cmd {
		command := exec.Command(filepath.Join(filepath.Dir(initdb), "postgres"), arguments...)
		command.SysProcAttr, command.Dir = attributes(), dir
		return command
	}, ready: func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		connection, err := pgx.Connect(ctx, p.dsn("postgres"))
		if err != nil {
			return err
		}
		return connection.Close(ctx)
	}}
	t.Cleanup(p.Kill)
	p.Start()
	return p
}

// Database makes an empty database and returns the URL to reach it by.
func (p *PostgreSQL) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", p.databases.Add(1))
	p.Do(t, p.dsn("postgres"), "CREATE DATABASE "+name)
	return p.dsn(name)
}

// Do runs a statement of SQL.
func (p *PostgreSQL) Do(t testing.TB, dsn, statement string) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close(context.Background()) }()
	if _, err := connection.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Size is how many bytes a database takes on disk.
func (p *PostgreSQL) Size(t testing.TB, dsn string) (bytes int64) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close(context.Background()) }()
	if err := connection.QueryRow(t.Context(), "SELECT pg_database_size(current_database())").Scan(&bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}

func (p *PostgreSQL) dsn(database string) string {
	at := url.URL{Scheme: "postgres", User: url.UserPassword("latchkey", Password), Host: p.address, Path: "/" + database}
	return at.String()
}

// unprivileged is the user that a server runs as which refuses to run as root, and owns dir from now on.
func unprivileged(t testing.TB, dir string) (*syscall.Credential, func() *syscall.SysProcAttr) {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil, func() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	credential := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	chown(t, credential, dir)
	return credential, func() *syscall.SysProcAttr { return &syscall.SysProcAttr{Credential: credential} }
}

func chown(t testing.TB, to *syscall.Credential, path string) {
	t.Helper()
	if to == nil {
		return
	}
	if err := os.Chown(path, int(to.Uid), int(to.Gid)); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
