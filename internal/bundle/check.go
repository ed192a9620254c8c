package bundle

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"time"
)

// maxClockSkew is the design's bound: more would let tokens live noticeably longer than they say.
const maxClockSkew = time.Minute

var sessionPrefix = regexp.MustCompile(`^(/[a-z0-9-]+)+$`)

// check finds everything that is wrong, each with its path.
func (b *Bundle) check() error {
	var errs []error
	fail := func(problem, path string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", fmt.Sprintf(path, args...), problem))
	}

	if b.Version != Version {
		fail(fmt.Sprintf("must be %d", Version), "version")
	}
	services := map[string]bool{} // issuer URL -> whether it has a token service
	for i := range b.Issuers {
		issuer := &b.Issuers[i]
		at := fmt.Sprintf("issuers[%d]", i)
		_, twice := services[issuer.URL]
		services[issuer.URL] = issuer.TokenService != nil
		switch {
		case issuer.URL == "":
			fail("must not be empty", "%s.url", at)
		case twice:
			fail("is there twice", "%s.url", at)
		}
		if len(issuer.Audiences) == 0 {
			fail("must name at least one", "%s.audiences", at)
		}
		if skew := issuer.ClockSkew.Duration; skew < 0 || skew > maxClockSkew {
			fail("must be between 0s and 1m", "%s.clockSkew", at)
		}
		if len(issuer.Keys) == 0 {
			fail("must be a JSON Web Key Set", "%s.keys", at)
		}
		if service := issuer.TokenService; service != nil {
			if err := checkURL(service.URL); err != nil {
				fail(err.Error(), "%s.tokenService.url", at)
			}
			if address, err := netip.ParseAddrPort(service.Address); err != nil || address.Port() == 0 {
				fail("must be an IP address and a port", "%s.tokenService.address", at)
			}
			if !x509.NewCertPool().AppendCertsFromPEM([]byte(service.CA)) {
				fail("must hold a PEM certificate", "%s.tokenService.ca", at)
			}
		}
	}
	if session := b.Session; session != nil {
		if !sessionPrefix.MatchString(session.PathPrefix) {
			fail(`must look like "/auth": small letters, digits and "-"`, "session.pathPrefix")
		}
		if !services[session.Issuer] {
			fail("must be the url of an issuer that has a tokenService", "session.issuer")
		}
	}
	return errors.Join(errs...)
}

func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || raw != "https://"+u.Host {
		return errors.New("must be https://host:port and nothing more")
	}
	return nil
}
