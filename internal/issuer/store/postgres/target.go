package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The parameters that the URL may have. None of them names a file or makes TLS weaker.
var allowed = []string{"user", "password", "host", "port", "database", "sslmode", "application_name", "target_session_attrs"}

// target reads where the database is: a URL of PostgreSQL, and certificates of authorities in PEM that replace the system's, or nothing.
//
// The server's certificate is checked in full (verify-full) without being asked for. Only where nobody else can listen, on a Unix socket or
// a loopback address, may there be no TLS. What is wrong is told without any part of the URL, for it holds a password.
func target(text string, authorities []byte) (*pgxpool.Config, error) {
	at, err := url.Parse(text)
	if err != nil || at.Scheme != "postgres" && at.Scheme != "postgresql" {
		return nil, errors.New("must be a URL like postgres://user:password@host:5432/database")
	}
	query := at.Query()
	host := at.Hostname()
	if host == "" {
		host = query.Get("host")
	} else if query.Has("host") {
		return nil, errors.New("names a host more than once")
	}
	near := filepath.IsAbs(host) || net.ParseIP(host).IsLoopback()
	mode := query.Get("sslmode")
	switch {
	case mode == "" && near:
		mode = "disable"
	case mode == "" && !near:
		mode = "verify-full"
	case mode == "verify-full", mode == "disable" && near:
	default:
		return nil, errors.New("sslmode: must be verify-full, or left out; disable is for loopback addresses and Unix sockets")
	}
	query.Set("sslmode", mode)
	at.RawQuery = query.Encode()
	if host == "" || strings.Contains(host, ",") {
		return nil, errors.New("must name a host, and one alone")
	}
	if _, err = pgconn.ParseConfigWithOptions(at.String(), pgconn.ParseConfigOptions{ConnStringAllowedKeys: allowed}); err != nil {
		return nil, errors.New("is not understood: beside user, password, host, port and database it may have sslmode, application_name and target_session_attrs")
	}
	config, err := pgxpool.ParseConfig(at.String())
	if err != nil {
		return nil, errors.New("is not understood")
	}
	if mode == "verify-full" {
		secure := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
		if len(authorities) > 0 {
			secure.RootCAs = x509.NewCertPool()
			if !secure.RootCAs.AppendCertsFromPEM(authorities) {
				return nil, errors.New("the certificate authority holds no certificate in PEM")
			}
		}
		config.ConnConfig.TLSConfig = secure
	}
	config.ConnConfig.Fallbacks = nil // another host, or no TLS
	return config, nil
}
