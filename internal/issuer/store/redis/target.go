package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// target reads where the database is: a URL, and certificates of authorities in PEM that replace the system's, or nothing. What is wrong is
// told without any part of the URL, for it holds a password.
func target(text string, authorities []byte) (*goredis.Options, error) {
	at, err := url.Parse(text)
	if err != nil || at.Scheme != "redis" && at.Scheme != "rediss" && at.Scheme != "unix" {
		return nil, errors.New("must be a URL like rediss://user:password@host:6379/0")
	}
	options := &goredis.Options{Username: at.User.Username()}
	options.Password, _ = at.User.Password()
	query := at.Query()
	database := strings.TrimPrefix(at.Path, "/")
	if at.Scheme == "unix" {
		options.Network, options.Addr, database = "unix", at.Path, query.Get("db")
		query.Del("db")
	} else {
		options.Network, options.Addr = "tcp", at.Host
		if at.Port() == "" {
			options.Addr = net.JoinHostPort(at.Hostname(), "6379")
		}
	}
	if database != "" {
		if options.DB, err = strconv.Atoi(database); err != nil || options.DB < 0 {
			return nil, errors.New("the database must be a number")
		}
	}
	switch {
	case len(query) > 0:
		return nil, errors.New("must have no parameters; of a Unix socket, db alone")
	case at.Scheme != "unix" && at.Hostname() == "" || at.Scheme == "unix" && options.Addr == "":
		return nil, errors.New("must name a host, or the path of a Unix socket")
	case at.Scheme == "redis" && !net.ParseIP(at.Hostname()).IsLoopback():
		return nil, errors.New("must be rediss://, with TLS; redis:// is for loopback addresses")
	case at.Scheme == "rediss":
		options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: at.Hostname()}
		if len(authorities) > 0 {
			options.TLSConfig.RootCAs = x509.NewCertPool()
			if !options.TLSConfig.RootCAs.AppendCertsFromPEM(authorities) {
				return nil, errors.New("the certificate authority holds no certificate in PEM")
			}
		}
	}
	return options, nil
}
