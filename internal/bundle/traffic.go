package bundle

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"
)

// Certificate is what the sidecar shows to callers. With it, the sidecar speaks TLS on all of the app's ports.
type Certificate struct {
	Chain string     // PEM, the leaf first
	Key   PrivateKey // PEM; of the leaf
	// Secret is the name of the Secret that they come from: a note of the manager to itself, as KeysFrom is.
	Secret string
}

// Pair is the certificate as crypto/tls takes it, with Leaf set. The error shows nothing of the key.
func (c *Certificate) Pair() (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair([]byte(c.Chain), c.Key)
	if err != nil {
		return nil, err
	}
	return &pair, nil
}

// PrivateKey is a private key in PEM. It prints as [redacted]; only Bundle.Marshal writes it out.
type PrivateKey []byte

// MarshalJSON redacts.
func (PrivateKey) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format redacts under every verb.
func (PrivateKey) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(redacted)) }

// String redacts.
func (PrivateKey) String() string { return redacted }

// LogValue redacts.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// Protocol says which HTTP the app is called with.
type Protocol string

const (
	// ProtocolAuto is HTTP/2 for gRPC and HTTP/1.1 for everything else; with TLS, what the app chooses by ALPN.
	ProtocolAuto Protocol = "Auto"
	// ProtocolHTTP1 is HTTP/1.1.
	ProtocolHTTP1 Protocol = "HTTP1"
	// ProtocolHTTP2 is HTTP/2, without TLS by prior knowledge. WebSocket handshakes are HTTP/1.1 all the same.
	ProtocolHTTP2 Protocol = "HTTP2"
)

// Upstream is how the app is called. Zero values mean the defaults. It may be compared.
type Upstream struct {
	Protocol        Protocol
	ServerName      string        // of the app's certificate; "" for an app that does not speak TLS
	CA              string        // PEM certificates that the app's certificate must lead to
	ConnectTimeout  time.Duration // how long the app may take to accept a connection
	ResponseTimeout time.Duration // how long the app may take to begin its answer; gRPC calls excepted
}

// WithDefaults fills in what is not set.
func (u Upstream) WithDefaults() Upstream {
	orDefault(&u.Protocol, ProtocolAuto)
	orDefault(&u.ConnectTimeout, time.Second)
	orDefault(&u.ResponseTimeout, 5*time.Minute)
	return u
}

// Limits bound what callers can take up. Zero values mean the defaults. They may be compared.
type Limits struct {
	MaxConnections          int32 // open at once
	MaxConnectionsPerClient int32 // of them, from one address; 0: as many
	MaxRequests             int32 // being answered at once, streams included
	MaxStreamsPerConnection int32 // HTTP/2 requests at once on one connection
	MaxHeaderBytes          int32
	MaxBodyBytes            int64 // 0: any
	HeaderTimeout           time.Duration
	StallTimeout            time.Duration
	IdleTimeout             time.Duration
}

// WithDefaults fills in what is not set.
func (l Limits) WithDefaults() Limits {
	orDefault(&l.MaxConnections, 10_000)
	orDefault(&l.MaxRequests, 10_000)
	orDefault(&l.MaxStreamsPerConnection, 250)
	orDefault(&l.MaxHeaderBytes, 64<<10)
	orDefault(&l.HeaderTimeout, 10*time.Second)
	orDefault(&l.StallTimeout, time.Minute)
	orDefault(&l.IdleTimeout, 5*time.Minute) // longer than common proxies keep theirs, so that they close first
	return l
}

func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// checkTraffic finds what is wrong with the parts of this file.
func (b *Bundle) checkTraffic(fail func(path, problem string)) {
	if c := b.Certificate; c != nil {
		if _, err := c.Pair(); err != nil {
			fail("tls", err.Error())
		}
	}

	upstream := b.Upstream.WithDefaults()
	switch upstream.Protocol {
	case ProtocolAuto, ProtocolHTTP1, ProtocolHTTP2:
	default:
		fail("upstream.protocol", "must be Auto, HTTP1 or HTTP2")
	}
	if (upstream.ServerName == "") != (upstream.CA == "") {
		fail("upstream.tls", "must have both serverName and certificateAuthority")
	}
	if upstream.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(upstream.CA)) {
		fail("upstream.tls.certificateAuthority", "must hold a PEM certificate")
	}

	limits := b.Limits.WithDefaults()
	for _, bounded := range []struct {
		path             string
		value, low, high int64
	}{
		{"limits.maxConnections", int64(limits.MaxConnections), 1, 100_000},
		{"limits.maxConnectionsPerClient", int64(limits.MaxConnectionsPerClient), 0, 100_000},
		{"limits.maxRequests", int64(limits.MaxRequests), 1, 100_000},
		{"limits.maxStreamsPerConnection", int64(limits.MaxStreamsPerConnection), 1, 10_000},
		{"limits.maxHeaderBytes", int64(limits.MaxHeaderBytes), 4 << 10, 1 << 20},
		{"limits.maxBodyBytes", limits.MaxBodyBytes, 0, 1 << 50},
	} {
		if bounded.value < bounded.low || bounded.value > bounded.high {
			fail(bounded.path, fmt.Sprintf("must be between %d and %d", bounded.low, bounded.high))
		}
	}
	for _, bounded := range []struct {
		path             string
		value, low, high time.Duration
	}{
		{"upstream.connectTimeout", upstream.ConnectTimeout, 10 * time.Millisecond, time.Minute},
		{"upstream.responseTimeout", upstream.ResponseTimeout, time.Second, 24 * time.Hour},
		{"limits.headerTimeout", limits.HeaderTimeout, time.Second, 5 * time.Minute},
		{"limits.stallTimeout", limits.StallTimeout, time.Second, time.Hour},
		{"limits.idleTimeout", limits.IdleTimeout, time.Second, 24 * time.Hour},
	} {
		if bounded.value < bounded.low || bounded.value > bounded.high {
			fail(bounded.path, fmt.Sprintf("must be between %s and %s", bounded.low, bounded.high))
		}
	}
	if b.RevocationBound != 0 && (b.RevocationBound < MinRevocationBound || b.RevocationBound > 24*time.Hour) {
		fail("revocation.after", fmt.Sprintf("must be between %s and %s", MinRevocationBound, 24*time.Hour))
	}
}

// MinRevocationBound is the least that RevocationBound can be: a stream that is followed may be silent for some seconds, and takes some more to
// be found lost and followed again.
const MinRevocationBound = 30 * time.Second
