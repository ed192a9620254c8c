package bundle

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

var sessionPrefix = regexp.MustCompile(`^(/[a-z0-9-]+)+$`)

// check finds everything that is wrong, each with its path.
func (b *Bundle) check() error {
	var faults []error
	fail := func(path, problem string) { faults = append(faults, errors.New(path+": "+problem)) }

	hasService := map[string]bool{} // by the issuers' URLs
	for i, issuer := range b.Issuers {
		at := fmt.Sprintf("issuers[%d].", i)
		if issuer.URL == "" {
			fail(at+"url", "must not be empty")
		} else if _, twice := hasService[issuer.URL]; twice {
			fail(at+"url", "is an earlier issuer's; each must have its own")
		}
		hasService[issuer.URL] = hasService[issuer.URL] || issuer.TokenService != nil
		if len(issuer.Audiences) == 0 {
			fail(at+"audiences", "must name at least one")
		}
		if issuer.ClockSkew < 0 || issuer.ClockSkew > MaxClockSkew {
			fail(at+"clockSkew", "must be between 0s and 1m")
		}
		if foreign := issuer.Foreign; foreign != nil {
			foreign.check(at+"foreign.", fail)
			if issuer.Symmetric || issuer.TokenService != nil || issuer.KeysFrom != nil {
				fail(at+"foreign", "does not go with symmetric, tokenService or keysFrom")
			}
		}
		if (issuer.Foreign == nil || len(issuer.Keys) > 0) && !bytes.HasPrefix(issuer.Keys, []byte("{")) {
			fail(at+"keys", "must be a JSON Web Key Set, which is an object")
		}
		if service := issuer.TokenService; service != nil {
			if !isOrigin(service.URL) {
				fail(at+"tokenService.url", "must be https://host:port and nothing more")
			}
			if address, err := netip.ParseAddrPort(service.Address); err != nil || address.Port() == 0 {
				fail(at+"tokenService.address", "must be an IP address and a port")
			}
			if !x509.NewCertPool().AppendCertsFromPEM([]byte(service.CA)) {
				fail(at+"tokenService.ca", "must hold a PEM certificate")
			}
		}
	}
	if b.Session != nil {
		b.Session.checkPages(fail)
		for i, network := range b.Session.TrustedProxies {
			if prefix, err := netip.ParsePrefix(network); err != nil || prefix != prefix.Masked() {
				fail(fmt.Sprintf("session.trustedProxies[%d]", i), "must be a network such as 10.0.0.0/8, with nothing beyond its bits")
			}
		}
		if !sessionPrefix.MatchString(b.Session.PathPrefix) {
			fail("session.pathPrefix", `must look like "/auth": small letters, digits and "-"`)
		}
		if !hasService[b.Session.Issuer] {
			fail("session.issuer", "must be the url of an issuer that has a tokenService")
		}
	}
	b.checkTraffic(fail)
	b.checkObservation(fail)
	return errors.Join(faults...)
}

// checkPages wants a sign-in page that requests can reach, and that is the app's.
func (s *Session) checkPages(fail func(path, problem string)) {
	if s.ServerRendered == nil {
		return
	}
	page := s.ServerRendered.SignInPath
	if normal, err := policy.Normalize(page); err != nil || normal != page || strings.ContainsAny(page, "?#") {
		fail("session.serverRendered.signInPath", `must be a path as requests have it, such as "/sign-in"`)
	} else if strings.HasPrefix(page+"/", s.PathPrefix+"/") {
		fail("session.serverRendered.signInPath", "must be a page of the app: what is below session.pathPrefix never reaches it")
	}
}

func (f *Foreign) check(at string, fail func(path, problem string)) {
	if f.JWKSURI == "" && f.DiscoveryURL == "" {
		fail(at+"jwksURI", "is missing, and so is discoveryURL")
	}
	for _, u := range []struct{ name, url string }{{"jwksURI", f.JWKSURI}, {"discoveryURL", f.DiscoveryURL}} {
		if u.url != "" && !strings.HasPrefix(u.url, "https://") {
			fail(at+u.name, "must be an https URL")
		}
	}
	if f.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(f.CA)) {
		fail(at+"ca", "must hold a PEM certificate")
	}
}

// isOrigin wants scheme and host alone, spelt as they would be written back.
func isOrigin(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Hostname() != "" && raw == "https://"+u.Host
}
