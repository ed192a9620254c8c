package jwksource

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey-dev/latchkey/internal/keyset"
)

// MaxDocument is the size above which an answer is not read, in bytes.
const MaxDocument = 256 << 10

const (
	connectTimeout = 3 * time.Second
	tlsTimeout     = 3 * time.Second
	headerTimeout  = 5 * time.Second
	maxHeaders     = 32 << 10
	maxETag        = 256
)

// Options are how sources are fetched.
type Options struct {
	// Addresses says what may be dialled. Required. Programs that users run give Strict.
	Addresses AddressRule
	// Timeout bounds one fetch, with everything that belongs to it. Required.
	Timeout time.Duration
}

// Fetcher fetches one source. It may be used by several goroutines.
type Fetcher struct {
	source    Source
	timeout   time.Duration
	transport *http.Transport
}

// Fetched is what a fetch has brought.
type Fetched struct {
	Set *keyset.Set
	// JWKSURI is where the set was.
	JWKSURI string
	// Lifetime is how long the set counts as fresh.
	Lifetime time.Duration
	// NotModified says that the server has nothing newer than what it was asked about: Set is that.
	NotModified bool

	etag string
}

// New returns what fetches the source. The error is that of Source.Check.
func New(source Source, options Options) (*Fetcher, error) {
	if options.Addresses == nil || options.Timeout <= 0 {
		return nil, errors.New("fetch key sets: Addresses and Timeout are required")
	}
	if err := source.Check(); err != nil {
		return nil, err
	}
	roots, err := source.roots()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: connectTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		resolved, err := netip.ParseAddrPort(address)
		if err != nil {
			return &addressError{"is no address"}
		}
		if err := options.Addresses(resolved.Addr()); err != nil {
			return &addressError{err.Error()}
		}
		return nil
	}}
	return &Fetcher{source: source, timeout: options.Timeout, transport: &http.Transport{
		// No proxy, not that of the environment either: it would dial in our place what we must not.
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxHeaders,
		DisableKeepAlives:      true, // minutes pass until the next fetch
		DisableCompression:     true, // so that the cap is on what is read
	}}, nil
}

// Fetch fetches the source. Last is what an earlier fetch has brought, or nil: what the server says it has already is not sent again. The error
// is always a *Failure.
func (f *Fetcher) Fetch(ctx context.Context, last *Fetched) (*Fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	fetched, failure := f.fetch(ctx, last)
	if failure != nil {
		return nil, failure
	}
	return fetched, nil
}

func (f *Fetcher) fetch(ctx context.Context, last *Fetched) (*Fetched, *Failure) {
	jwksURI := f.source.JWKSURI
	if f.source.DiscoveryURL != "" {
		found, failure := f.get(ctx, "discoveryURL", f.source.DiscoveryURL, "")
		if failure != nil {
			return nil, failure
		}
		var err error
		if jwksURI, err = ParseDiscovery(found.body, f.source.Issuer); err != nil {
			return nil, fail(KindDocument, err.Error())
		}
	}
	etag := ""
	if last != nil && last.JWKSURI == jwksURI {
		etag = last.etag
	}
	what := "jwksURI"
	if f.source.DiscoveryURL != "" {
		what = "jwks_uri in the discovery document"
	}
	found, failure := f.get(ctx, what, jwksURI, etag)
	switch {
	case failure != nil:
		return nil, failure
	case found.notModified:
		return &Fetched{Set: last.Set, JWKSURI: jwksURI, Lifetime: found.lifetime, NotModified: true, etag: etag}, nil
	}
	set, err := keyset.ParseForeign(found.body, f.source.algorithms())
	if err != nil {
		return nil, fail(KindDocument, err.Error())
	}
	return &Fetched{Set: set, JWKSURI: jwksURI, Lifetime: found.lifetime, etag: found.etag}, nil
}

type answer struct {
	body        []byte
	etag        string
	lifetime    time.Duration
	notModified bool
}

// get asks once. It follows no redirect, sends no credentials and keeps no cookies. The type of the content does not count: what it holds is
// judged by those who read it, and many servers send text/plain.
func (f *Fetcher) get(ctx context.Context, what, url, etag string) (*answer, *Failure) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fail(KindConnect, what+" cannot be asked for")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("User-Agent", "latchkey")
	if etag != "" {
		request.Header.Set("If-None-Match", etag)
	}
	response, err := f.transport.RoundTrip(request)
	if err != nil {
		return nil, transportFailure(what, err)
	}
	defer response.Body.Close()

	lifetime := Lifetime(response.Header.Values("Cache-Control"), response.Header.Get("Age"))
	switch status := response.StatusCode; {
	case status == http.StatusNotModified && etag != "":
		return &answer{lifetime: lifetime, notModified: true}, nil
	case status >= 300 && status < 400:
		return nil, fail(KindStatus, fmt.Sprintf("%s answers with a redirect (%d), and none is followed: name the URL that it leads to", what, status))
	case status != http.StatusOK:
		return nil, fail(KindStatus, fmt.Sprintf("%s answers with status %d", what, status))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxDocument+1))
	if err == nil {
		err = ctx.Err() // a server that is hung up on may still finish an empty answer
	}
	switch {
	case err != nil:
		return nil, transportFailure(what, err)
	case len(body) > MaxDocument:
		return nil, fail(KindDocument, fmt.Sprintf("%s answers with more than %d bytes", what, MaxDocument))
	}
	found := &answer{body: body, lifetime: lifetime}
	if tag := response.Header.Get("ETag"); isETag(tag) {
		found.etag = tag
	}
	return found, nil
}

// isETag reports whether tag is one that can be sent back (RFC 9110 section 8.8.3), and not too long to bother.
func isETag(tag string) bool {
	opaque := strings.TrimPrefix(tag, "W/")
	return len(tag) <= maxETag && len(opaque) >= 2 && opaque[0] == '"' && opaque[len(opaque)-1] == '"' &&
		strings.IndexFunc(opaque, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
