package jwksource

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Source is where one issuer's keys are, and which of them count. Equal sources have equal keys, so one fetch serves all who name them.
type Source struct {
	// Issuer is the issuer's URL, as tokens carry it in iss. With DiscoveryURL, its document must name it.
	Issuer string
	// JWKSURI or DiscoveryURL is the https URL of the key set, or of the document that names it.
	JWKSURI, DiscoveryURL string
	// CA holds the PEM certificates that the server's must lead to; "" means those that the system trusts.
	CA string
	// Algorithms are those that are taken, separated by commas; "" means all of them.
	Algorithms string
}

// maxURL bounds a URL, in bytes.
const maxURL = 512

// Check returns all that is wrong with a source, each with the name of the field of a policy that it is from.
func (s Source) Check() error {
	var wrong []error
	for _, u := range []struct{ name, url string }{{"jwksURI", s.JWKSURI}, {"discoveryURL", s.DiscoveryURL}} {
		if u.url == "" {
			continue
		}
		if err := checkURL(u.url); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", u.name, err))
		}
	}
	if (s.JWKSURI == "") == (s.DiscoveryURL == "") {
		wrong = append(wrong, errors.New("set exactly one of jwksURI and discoveryURL"))
	}
	if _, err := s.roots(); err != nil {
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// URL is the one that the source names.
func (s Source) URL() string {
	if s.DiscoveryURL != "" {
		return s.DiscoveryURL
	}
	return s.JWKSURI
}

// Field is the name of the field that URL is from.
func (s Source) Field() string {
	if s.DiscoveryURL != "" {
		return "discoveryURL"
	}
	return "jwksURI"
}

// Algorithms returns names as Source.Algorithms has them.
func Algorithms(names []string) string { return strings.Join(names, ",") }

func (s Source) algorithms() []string {
	if s.Algorithms == "" {
		return nil
	}
	return strings.Split(s.Algorithms, ",")
}

// roots returns the authorities of CA; nil, for those of the system, where there is none.
func (s Source) roots() (*x509.CertPool, error) {
	if s.CA == "" {
		return nil, nil
	}
	roots := x509.NewCertPool()
	found := false
	for rest := []byte(s.CA); ; found = true {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("certificateAuthority: must hold PEM certificates and nothing else")
		}
		roots.AddCert(certificate)
	}
	if !found {
		return nil, errors.New("certificateAuthority: holds no PEM certificate")
	}
	return roots, nil
}

// checkURL says why a URL must not be fetched. The error goes behind the name of what it was found in.
func checkURL(raw string) error {
	if len(raw) > maxURL {
		return fmt.Errorf("is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "" {
		return errors.New("must be an https URL with a host")
	}
	if u.User != nil || strings.Contains(raw, "#") {
		return errors.New("must have no user and no fragment")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("must have a port from 1 to 65535, or none")
		}
	}
	return nil
}
