package storetest

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/pki"
)

// Certificate makes an authority and its certificate for a server on 127.0.0.1.
func Certificate(t *testing.T) (*pki.CA, *pki.Certificate) {
	t.Helper()
	ca, err := pki.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Issue(nil, []net.IP{net.ParseIP("127.0.0.1")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca, certificate
}

// RunCertificates holds a store to believing nobody who answers in its server's place: without a certificate of the authority that was named, or
// with one for another host. The server at url has one of ca's for 127.0.0.1.
func RunCertificates(t *testing.T, url string, ca *pki.CA, open func(url string, authorities []byte) (store.Store, error)) {
	stranger, _ := Certificate(t)
	for _, tc := range []struct {
		name, url   string
		authorities []byte
		want        string
	}{
		{"the authority vouches for it", url, ca.CertPEM(), ""},
		{"another authority", url, stranger.CertPEM(), "certificate signed by unknown authority"},
		{"public authorities", url, nil, "certificate signed by unknown authority"},
		{"another host's certificate", strings.Replace(url, "127.0.0.1", "localhost", 1), ca.CertPEM(), "wanted to match localhost"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := open(tc.url, tc.authorities)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			_, _, err = s.Stream(t.Context())
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
