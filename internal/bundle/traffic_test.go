package bundle_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/bundle"
)

func newCertificate(t *testing.T) *bundle.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"shop.example"}, NotAfter: time.Now().Add(time.Hour)}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &bundle.Certificate{
		Chain:  string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain})),
		Key:    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		Secret: "shop-tls",
	}
}

func TestCertificateComesBackAndMakesTheBundleASecret(t *testing.T) {
	b := &bundle.Bundle{Certificate: newCertificate(t)}
	if !b.HasSecrets() {
		t.Error("got a bundle for a ConfigMap, want its private key in a Secret")
	}
	parsed, err := bundle.Parse(marshal(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]byte(parsed.Certificate.Key), []byte(b.Certificate.Key)); diff != "" || parsed.Certificate.Chain != b.Certificate.Chain || parsed.Certificate.Secret != "shop-tls" {
		t.Error("got another certificate back than was written")
	}
}

func TestCertificateWithAnotherKeyIsRefusedWithoutShowingIt(t *testing.T) {
	b := &bundle.Bundle{Certificate: newCertificate(t)}
	b.Certificate.Key = newCertificate(t).Key
	_, err := b.Marshal()
	if err == nil || !strings.HasPrefix(err.Error(), "tls: ") || strings.Contains(err.Error(), string(b.Certificate.Key[40:60])) {
		t.Errorf("got %v, want a refusal that begins with tls and shows no key", err)
	}
}

func TestPrivateKeyCannotBePrinted(t *testing.T) {
	certificate := newCertificate(t)
	secret := string(certificate.Key[40:60])
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("", "key", certificate.Key, "certificate", certificate)
	marshalled, err := json.Marshal(certificate)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"%v": fmt.Sprintf("%v", certificate), "%+v": fmt.Sprintf("%+v", *certificate), "%#v": fmt.Sprintf("%#v", certificate.Key),
		"%s": fmt.Sprintf("%s", certificate.Key), "String": certificate.Key.String(), "slog": logged.String(), "json": string(marshalled),
	} {
		if strings.Contains(text, secret) || !strings.Contains(text, "[redacted]") {
			t.Errorf("%s: got %s, want [redacted] and no key", name, text)
		}
	}
	if text := fmt.Sprintf("%x", certificate.Key); text != "[redacted]" {
		t.Errorf("%%x: got %s, want [redacted]", text)
	}
}

func TestTrafficIsRefusedWithItsPath(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*bundle.Bundle)
		want   string
	}{
		{"a protocol that nobody speaks", func(b *bundle.Bundle) { b.Upstream.Protocol = "HTTP3" }, "upstream.protocol: must be Auto, HTTP1 or HTTP2"},
		{"an app whose certificate nobody vouches for", func(b *bundle.Bundle) { b.Upstream.ServerName = "shop" }, "upstream.tls: must have both serverName and certificateAuthority"},
		{"no certificate", func(b *bundle.Bundle) { b.Upstream.ServerName, b.Upstream.CA = "shop", "PEM" }, "upstream.tls.certificateAuthority: must hold a PEM certificate"},
		{"a header too small for a token", func(b *bundle.Bundle) { b.Limits.MaxHeaderBytes = 1 }, "limits.maxHeaderBytes: must be between 4096 and 1048576"},
		{"a negative body", func(b *bundle.Bundle) { b.Limits.MaxBodyBytes = -1 }, "limits.maxBodyBytes: must be between 0 and 1125899906842624"},
		{"a timeout beyond reason", func(b *bundle.Bundle) { b.Limits.HeaderTimeout = time.Hour }, "limits.headerTimeout: must be between 1s and 5m0s"},
		{"an app that has no time", func(b *bundle.Bundle) { b.Upstream.ConnectTimeout = time.Millisecond }, "upstream.connectTimeout: must be between 10ms and 1m0s"},
		{"a bound below what a stream takes to be found lost", func(b *bundle.Bundle) { b.RevocationBound = time.Second }, "revocation.after: must be between 30s and 24h0m0s"},
	} {
		b := &bundle.Bundle{}
		test.change(b)
		if _, err := b.Marshal(); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}
