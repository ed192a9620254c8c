package serving

import (
	"crypto/tls"
	"fmt"
	"sync"

	"k8s.io/utils/clock"

	"github.com/latchkey-dev/latchkey/internal/pki"
)

// Certificate is a serving certificate that renews itself. It lives in memory alone: a replica that starts issues its own.
type Certificate struct {
	ca    *pki.CA
	names []string
	clock clock.PassiveClock

	mu      sync.Mutex
	current *pki.Certificate
}

// NewCertificate issues the first certificate for the webhook's Service, as the API server calls it.
func NewCertificate(ca *pki.CA, service, namespace string, clock clock.PassiveClock) (*Certificate, error) {
	c := &Certificate{ca: ca, names: []string{fmt.Sprintf("%s.%s.svc", service, namespace)}, clock: clock}
	if _, err := c.Get(nil); err != nil {
		return nil, fmt.Errorf("webhook's serving certificate: %w", err)
	}
	return c, nil
}

// Get is for tls.Config.GetCertificate. The handshake that finds a renewal due makes it, in a millisecond.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.clock.Now(); c.current == nil || c.current.NeedsRenewal(now) {
		renewed, err := c.ca.Issue(c.names, nil, now)
		if err != nil {
			return nil, err
		}
		c.current = renewed
	}
	return c.current.TLS(), nil
}
