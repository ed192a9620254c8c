package pki_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/pki"
)

var (
	now   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	names = []string{"quickstart-issuer.default.svc"}
)

func TestACertificateServesTheNamesItWasIssuedFor(t *testing.T) {
	ca := newCA(t)
	certificate := issue(t, ca)
	serverSide, clientSide := net.Pipe()
	server := tls.Server(serverSide, &tls.Config{Certificates: []tls.Certificate{*certificate.TLS()}, MinVersion: tls.VersionTLS13})
	go func() { _ = server.Handshake() }()

	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.CertPEM()) {
		t.Fatal("the authority's certificate is not PEM")
	}
	client := tls.Client(clientSide, &tls.Config{
		RootCAs: roots, ServerName: names[0], MinVersion: tls.VersionTLS13, Time: func() time.Time { return now },
	})
	if err := client.Handshake(); err != nil {
		t.Errorf("got %v, want a handshake", err)
	}
}

func TestVouches(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	certificate := issue(t, ca)
	tests := []struct {
		name  string
		ca    *pki.CA
		names []string
		at    time.Time
		want  bool
	}{
		{name: "for its own certificate", ca: ca, names: names, at: now, want: true},
		{name: "not for another authority's", ca: other, names: names, at: now},
		{name: "not for another name", ca: ca, names: []string{"other.default.svc"}, at: now},
		{name: "not after the end", ca: ca, names: names, at: now.Add(91 * 24 * time.Hour)},
		{name: "not long before the beginning", ca: ca, names: names, at: now.Add(-time.Hour)},
		{name: "for a clock a little behind", ca: ca, names: names, at: now.Add(-time.Minute), want: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.ca.Vouches(certificate, test.names, test.at); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestRenewalIsDueAfterTwoThirdsOfALife(t *testing.T) {
	certificate := issue(t, newCA(t))
	for _, test := range []struct {
		name string
		at   time.Time
		want bool
	}{
		{name: "fresh", at: now},
		{name: "a moment before", at: certificate.RenewAt().Add(-time.Second)},
		{name: "at the moment", at: certificate.RenewAt(), want: true},
		{name: "a month left", at: now.Add(60 * 24 * time.Hour), want: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := certificate.NeedsRenewal(test.at); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestACertificateNeverOutlivesItsAuthority(t *testing.T) {
	ca := newCA(t)
	late := now.Add(10*365*24*time.Hour - 24*time.Hour)
	certificate, err := ca.Issue(names, nil, late)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := certificate.TLS().Leaf.NotAfter, now.Add(10*365*24*time.Hour); !got.Equal(want) {
		t.Errorf("got an end at %v, want %v", got, want)
	}
	if !ca.NeedsRenewal(late) {
		t.Error("got no renewal of an authority in its last days, want one")
	}
}

func TestPairsSurviveBeingStored(t *testing.T) {
	ca := newCA(t)
	again, err := pki.ParseCA(ca.CertPEM(), ca.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	certificate := issue(t, again)
	stored, err := pki.Parse(certificate.CertPEM(), certificate.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	if !ca.Vouches(stored, names, now) {
		t.Error("got no trust in what the stored authority issued, want trust")
	}
}

func TestBrokenPairsAreRefused(t *testing.T) {
	ca := newCA(t)
	certificate := issue(t, ca)
	tests := []struct {
		name      string
		cert, key []byte
		want      string
	}{
		{name: "nothing there", want: `no PEM block "CERTIFICATE"`},
		{name: "no key", cert: ca.CertPEM(), want: `no PEM block "PRIVATE KEY"`},
		{name: "a key in the place of the certificate", cert: ca.KeyPEM(), key: ca.KeyPEM(), want: `no PEM block "CERTIFICATE"`},
		{name: "another's key", cert: ca.CertPEM(), key: certificate.KeyPEM(), want: "does not belong"},
		{name: "a serving certificate as an authority", cert: certificate.CertPEM(), key: certificate.KeyPEM(), want: "may not sign"},
		{name: "two certificates", cert: append(bytes.Clone(ca.CertPEM()), certificate.CertPEM()...), key: ca.KeyPEM(), want: "something follows"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := pki.ParseCA(test.cert, test.key)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one that says %q", err, test.want)
			}
		})
	}
}

func TestPrivateKeysCannotBePrinted(t *testing.T) {
	ca := newCA(t)
	for name, value := range map[string]any{"authority": ca, "authority by value": *ca, "certificate": issue(t, ca)} {
		t.Run(name, func(t *testing.T) {
			encoded, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			var logged bytes.Buffer
			slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "value", value)
			printed := []string{fmt.Sprintf("%v", value), fmt.Sprintf("%+v", value), fmt.Sprintf("%#v", value), fmt.Sprintf("%s", value), fmt.Sprintf("%d", value), string(encoded)}
			for _, got := range printed {
				if want := "[redacted]"; strings.Trim(got, `"`) != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			if !strings.Contains(logged.String(), "value=[redacted]") {
				t.Errorf("got log line %s, want it redacted", logged.String())
			}
		})
	}
}

func newCA(t *testing.T) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA(now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *pki.CA) *pki.Certificate {
	t.Helper()
	certificate, err := ca.Issue(names, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
