package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

const (
	// caLifetime is long because every bundle carries the authority's certificate: a new one has to reach each of them first, as package serving sees to.
	caLifetime = 10 * 365 * 24 * time.Hour
	// certificateLifetime is short enough that a stolen serving key is of no lasting use; renewal needs nobody.
	certificateLifetime = 90 * 24 * time.Hour
	// backdate lets a process whose clock is a little behind ours trust what was issued just now.
	backdate = 5 * time.Minute
)

// CA is a certificate authority. It cannot be printed: see KeyPEM.
type CA struct {
	redacted
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	certPEM     []byte
	keyPEM      []byte
	beside      []*CA // of them the certificates alone are used
}

// NewCA makes an authority that is valid for ten years. It signs serving certificates only, no further authorities.
func NewCA(now time.Time) (*CA, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Latchkey"},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	certPEM, keyPEM, err := sign(template, nil)
	if err != nil {
		return nil, fmt.Errorf("make a certificate authority: %w", err)
	}
	return ParseCA(certPEM, keyPEM)
}

// ParseCA reads an authority back from PEM, and refuses one whose key does not belong to its certificate or that may not sign.
func ParseCA(certPEM, keyPEM []byte) (*CA, error) {
	certificate, key, err := parsePair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	if !certificate.IsCA || certificate.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, errors.New("read the certificate authority: the certificate may not sign others")
	}
	return &CA{certificate: certificate, key: key, certPEM: certPEM, keyPEM: keyPEM}, nil
}

// ParseTrusted reads the certificate of an authority that is trusted and issues nothing: it is for Trusting.
func ParseTrusted(certPEM []byte) (*CA, error) {
	certificate, err := parseCertificate(certPEM)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of an authority: %w", err)
	}
	return &CA{certificate: certificate, certPEM: certPEM}, nil
}

// Trusting returns the authority as one beside which others are trusted: the one that will follow it, or the one that it has followed.
func (ca *CA) Trusting(others ...*CA) *CA {
	joined := *ca
	joined.beside = others
	return &joined
}

// CertPEM is the authority's own certificate.
func (ca *CA) CertPEM() []byte { return ca.certPEM }

// TrustPEM is public, and to be handed to everybody who shall trust what the authority issues: its certificate and those of the authorities beside it, that which
// ends first before the others. So it stays as it is when one authority takes over from another.
func (ca *CA) TrustPEM() []byte {
	all := append([]*CA{ca}, ca.beside...)
	slices.SortFunc(all, func(a, b *CA) int { return a.certificate.NotAfter.Compare(b.certificate.NotAfter) })
	var text []byte
	for _, each := range all {
		text = append(text, each.certPEM...)
	}
	return text
}

// Since is from when on the authority is valid.
func (ca *CA) Since() time.Time { return ca.certificate.NotBefore }

// Ended reports whether nothing that the authority has issued is valid any more.
func (ca *CA) Ended(now time.Time) bool { return now.After(ca.certificate.NotAfter) }

// KeyPEM is the authority's private key (PKCS #8), to be kept in a Secret.
func (ca *CA) KeyPEM() []byte { return ca.keyPEM }

// NeedsRenewal reports whether two thirds of the authority's life are over.
func (ca *CA) NeedsRenewal(now time.Time) bool { return !now.Before(renewAt(ca.certificate)) }

// Issue makes a serving certificate with a key of its own for the given names and addresses. It is valid for 90 days, and never longer
// than the authority.
func (ca *CA) Issue(dnsNames []string, ips []net.IP, now time.Time) (*Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	notAfter := now.Add(certificateLifetime)
	if notAfter.After(ca.certificate.NotAfter) {
		notAfter = ca.certificate.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Latchkey"}},
		DNSNames:     dnsNames,
		IPAddresses:  ips,
		NotBefore:    now.Add(-backdate),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certPEM, keyPEM, err := sign(template, ca)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %v: %w", dnsNames, err)
	}
	return Parse(certPEM, keyPEM)
}

// Vouches reports whether the authority issued the certificate, and it serves every given name at this time.
func (ca *CA) Vouches(c *Certificate, dnsNames []string, now time.Time) bool {
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	if _, err := c.leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err != nil {
		return false
	}
	for _, name := range dnsNames {
		if c.leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

// sign makes a key and a certificate for it, signed by the authority, or by itself when ca is nil.
func sign(template *x509.Certificate, ca *CA) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	parent, signer := template, key
	if ca != nil {
		parent, signer = ca.certificate, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	return encodePair(der, key)
}

// newSerial draws a serial number of 127 bits (RFC 5280, section 4.1.2.2: positive, at most 20 octets).
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}
