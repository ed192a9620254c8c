package pki

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Certificate is a serving certificate with its private key. It cannot be printed: see KeyPEM.
type Certificate struct {
	redacted
	leaf    *x509.Certificate
	key     *ecdsa.PrivateKey
	certPEM []byte
	keyPEM  []byte
}

// Parse reads a serving certificate back from PEM, and refuses a key that does not belong to it.
func Parse(certPEM, keyPEM []byte) (*Certificate, error) {
	leaf, key, err := parsePair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read the serving certificate: %w", err)
	}
	return &Certificate{leaf: leaf, key: key, certPEM: certPEM, keyPEM: keyPEM}, nil
}

// CertPEM is the certificate, public.
func (c *Certificate) CertPEM() []byte { return c.certPEM }

// KeyPEM is the private key (PKCS #8), to be kept in a Secret.
func (c *Certificate) KeyPEM() []byte { return c.keyPEM }

// TLS is the certificate in the form that servers take.
func (c *Certificate) TLS() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{c.leaf.Raw}, PrivateKey: c.key, Leaf: c.leaf}
}

// RenewAt is when two thirds of the certificate's life are over: early enough that a failed renewal can be tried for weeks.
func (c *Certificate) RenewAt() time.Time { return renewAt(c.leaf) }

// NeedsRenewal reports whether it is time to issue another.
func (c *Certificate) NeedsRenewal(now time.Time) bool { return !now.Before(c.RenewAt()) }

func renewAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

func encodePair(der []byte, key *ecdsa.PrivateKey) (certPEM, keyPEM []byte, err error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: pkcs8})
	return certPEM, keyPEM, nil
}

func parsePair(certPEM, keyPEM []byte) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certificate, err := parseCertificate(certPEM)
	if err != nil {
		return nil, nil, err
	}
	der, err := decodeBlock(keyPEM, keyBlock)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, nil, errors.New("private key: not PKCS #8") // the parser's own error may quote what it read
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, errors.New("private key: not an elliptic curve key")
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, nil, errors.New("the private key does not belong to the certificate")
	}
	return certificate, key, nil
}

func parseCertificate(certPEM []byte) (*x509.Certificate, error) {
	der, err := decodeBlock(certPEM, certificateBlock)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return certificate, nil
}

// decodeBlock takes exactly one PEM block of the given type, and nothing beside it.
func decodeBlock(data []byte, blockType string) ([]byte, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != blockType {
		return nil, fmt.Errorf("no PEM block %q", blockType)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("something follows the PEM block %q", blockType)
	}
	return block.Bytes, nil
}

// redacted keeps the private keys beside it out of logs, whatever verb prints them.
type redacted struct{}

const redactedText = "[redacted]"

func (redacted) String() string               { return redactedText }
func (redacted) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redactedText) }
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + redactedText + `"`), nil }
func (redacted) LogValue() slog.Value         { return slog.StringValue(redactedText) }
