// Package tokenservice owns the sidecar's talk with the token services that its bundle names: it offers their sign-in routes on the
// app's own origin, and follows their streams of revocations. It knows how to reach them and what must not reach them; it judges
// neither tokens nor requests to the app.
package tokenservice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
)

// Client reaches one token service. It dials the address that the bundle gives, so that signing in does not hang on DNS, and expects
// there a certificate of the bundle's CA for the host that the URL names.
type Client struct {
	host      string // and port, as the URL has them
	token     sidecartoken.Token
	transport *http.Transport
}

// NewClient returns a Client of the service, or an error that names the field of the bundle's tokenService that is wrong.
func NewClient(service bundle.TokenService) (*Client, error) {
	base, err := url.Parse(service.URL)
	if err != nil || base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("tokenService.url: must be an https URL, not %q", service.URL)
	}
	if _, err := netip.ParseAddrPort(service.Address); err != nil {
		return nil, fmt.Errorf("tokenService.address: must be an IP address and a port, not %q", service.Address)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(service.CA)) {
		return nil, errors.New("tokenService.ca: holds no PEM certificate")
	}
	dialer := net.Dialer{Timeout: 2 * time.Second}
	return &Client{host: base.Host, token: service.Token, transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, service.Address)
		},
		TLSClientConfig:       &tls.Config{RootCAs: roots, ServerName: base.Hostname(), MinVersion: tls.VersionTLS13},
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 15 * time.Second, // a login may wait its turn for the password hash
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   16,
		DisableCompression:    true,
	}}, nil
}

// Close lets go of connections that are not in use. Those that are in use end by themselves.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// endpoint is the URL of one of the service's endpoints.
func (c *Client) endpoint(path string) *url.URL {
	return &url.URL{Scheme: "https", Host: c.host, Path: path}
}
