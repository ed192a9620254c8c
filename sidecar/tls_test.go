package sidecar_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/latchkey-dev/latchkey/internal/bundle"
)

const shopHost = "shop.example"

// newCertificate is self-signed for shopHost, with this serial number.
func newCertificate(t testing.TB, serial int64) *bundle.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: shopHost}, DNSNames: []string{shopHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return &bundle.Certificate{
		Chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

func roots(certificate *bundle.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(certificate.Chain))
	return pool
}

// tlsClient trusts the certificate, and calls the pod by its name.
func (w *world) tlsClient(certificate *bundle.Certificate) *http.Client {
	transport := &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots(certificate)},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.podIP+":"+port)
		},
	}
	w.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func newTLSWorld(t *testing.T) (*world, *bundle.Certificate) {
	t.Helper()
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	certificate := newCertificate(t, 1)
	b := w.bundle()
	b.Certificate = certificate
	w.mount(b)
	w.start()
	return w, certificate
}

func TestTLSIsSpokenWithHTTP2AndHTTP1(t *testing.T) {
	w, certificate := newTLSWorld(t)
	for _, protocol := range []string{"HTTP/2.0", "HTTP/1.1"} {
		client := w.tlsClient(certificate)
		if protocol == "HTTP/1.1" {
			client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
		}
		request, err := http.NewRequest("GET", "https://"+shopHost+"/orders", nil)
		check(t, err)
		request.Header.Set("Authorization", "Bearer "+w.token("alice", nil))
		response, err := client.Do(request)
		check(t, err)
		if response.Proto != protocol || response.TLS.Version != tls.VersionTLS13 {
			t.Errorf("got %s over TLS %x, want %s over 1.3", response.Proto, response.TLS.Version, protocol)
		}
		got := readAnswer(t, response).seen(t)
		if got.Host != shopHost || got.Header.Get("X-Forwarded-Proto") != "https" || got.Header.Get("X-Auth-Subject") != "alice" {
			t.Errorf("got host %q and headers %v, want the app told of alice and https", got.Host, got.Header)
		}
	}
	// Who speaks no TLS is told so, and nothing else.
	response, err := w.client.Get("http://" + w.podIP + ":" + port + "/public")
	check(t, err)
	if got := readAnswer(t, response); got.Status != 400 || !strings.Contains(got.Body, "HTTPS") {
		t.Errorf("got %d %q without TLS, want 400", got.Status, got.Body)
	}
}

func TestTLSTakesModernSuitesOnly(t *testing.T) {
	w, certificate := newTLSWorld(t)
	for _, test := range []struct {
		name   string
		config *tls.Config
		good   bool
	}{
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"TLS 1.2 with CBC", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
		{"TLS 1.2 with GCM", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, true},
	} {
		test.config.RootCAs, test.config.ServerName = roots(certificate), shopHost
		connection, err := tls.Dial("tcp", w.podIP+":"+port, test.config)
		if (err == nil) != test.good {
			t.Errorf("%s: got %v", test.name, err)
		}
		if err == nil {
			connection.Close()
		}
	}
}

func TestNewCertificateIsShownWithoutTouchingAConnection(t *testing.T) {
	w, first := newTLSWorld(t)
	connection, err := tls.Dial("tcp", w.podIP+":"+port, &tls.Config{RootCAs: roots(first), ServerName: shopHost})
	check(t, err)
	defer connection.Close()
	reader := bufio.NewReader(connection)
	ask := func() int {
		_, sent := io.WriteString(connection, "GET /public HTTP/1.1\r\nHost: app\r\n\r\n")
		check(t, sent)
		response, unread := http.ReadResponse(reader, nil)
		check(t, unread)
		return readAnswer(t, response).Status
	}
	if got := ask(); got != 200 {
		t.Fatalf("got %d, want 200", got)
	}
	b := w.bundle()
	b.Certificate = newCertificate(t, 2)
	w.waitApplied(w.mount(b))
	if got := ask(); got != 200 {
		t.Errorf("got %d over the connection that was open, want 200", got)
	}
	next, err := tls.Dial("tcp", w.podIP+":"+port, &tls.Config{RootCAs: roots(b.Certificate), ServerName: shopHost})
	check(t, err)
	defer next.Close()
	if got := next.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != 2 {
		t.Errorf("got certificate %d, want the second", got)
	}
	if secret := string(b.Certificate.Key); strings.Contains(w.log.String(), secret[40:80]) {
		t.Error("got a private key in the log")
	}
}

func TestBrokenCertificateLeavesTheLastGoodOneInForce(t *testing.T) {
	w, first := newTLSWorld(t)
	b := w.bundle()
	b.Certificate = first
	data, err := b.Marshal()
	check(t, err)
	broken := w.mountFiles(map[string][]byte{bundle.FileName: []byte(strings.Replace(string(data), "PRIVATE KEY-----", "PUBLIC KEY-----", 1))})
	w.eventually("the broken bundle is rejected", func() bool { return w.applied().Volumes["latchkey-bundle"].Rejected == broken })
	response, err := w.tlsClient(first).Get("https://" + shopHost + "/public")
	check(t, err)
	if got := readAnswer(t, response).Status; got != 200 {
		t.Errorf("got %d, want 200 with the last good certificate", got)
	}
}

func TestGRPCPassesOverTLS(t *testing.T) {
	w := newWorld(t)
	w.serveGRPC()
	b := w.bundle()
	b.Certificate = newCertificate(t, 1)
	w.mount(b)
	w.start()
	client, err := grpc.NewClient("passthrough:///"+w.podIP+":"+port, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots(b.Certificate), ServerName: shopHost})))
	check(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+w.token("alice", nil)), patience)
	defer cancel()
	got := &wrapperspb.StringValue{}
	check(t, client.Invoke(ctx, "/test.Shout/Once", wrapperspb.String("hello"), got))
	if got.Value != "HELLO" {
		t.Errorf("got %q, want HELLO", got.Value)
	}
}

// serveTLSApp runs an app that speaks TLS, with HTTP/2 when asked to, until the test ends.
func (w *world) serveTLSApp(certificate *bundle.Certificate, http2 bool) {
	w.Helper()
	pair, err := certificate.Pair()
	check(w, err)
	listener, err := net.Listen("tcp", w.appIP+":"+port)
	check(w, err)
	server := &http.Server{
		Protocols: new(http.Protocols), TLSConfig: &tls.Config{Certificates: []tls.Certificate{*pair}},
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(rw, "%s %s", r.Proto, r.TLS.ServerName)
		}),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(http2)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ServeTLS(listener, "", "")
	}()
	w.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
}

func TestAppIsCalledInItsProtocol(t *testing.T) {
	certificate := newCertificate(t, 1)
	for _, test := range []struct {
		name     string
		protocol bundle.Protocol
		tls      bool
		http2App bool
		want     string
	}{
		{"by default", "", false, true, "HTTP/1.1"},
		{"with HTTP/2 when it says so", bundle.ProtocolHTTP2, false, true, "HTTP/2.0"},
		{"over TLS, with what it has", "", true, false, "HTTP/1.1 " + shopHost},
		{"over TLS, with HTTP/2 if it can", "", true, true, "HTTP/2.0 " + shopHost},
		{"over TLS, with HTTP/1.1 when it says so", bundle.ProtocolHTTP1, true, true, "HTTP/1.1 " + shopHost},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.bundle()
			b.Upstream.Protocol = test.protocol
			if test.tls {
				w.serveTLSApp(certificate, test.http2App)
				b.Upstream.ServerName, b.Upstream.CA = shopHost, certificate.Chain
			} else {
				w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, r.Proto) }))
			}
			w.mount(b)
			w.start()
			if got := w.do("GET", "/public", ""); got.Status != 200 || got.Body != test.want {
				t.Errorf("got %d %q, want %q", got.Status, got.Body, test.want)
			}
		})
	}
}

func TestAppWithAnotherCertificateIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	w.serveTLSApp(newCertificate(t, 1), true)
	b := w.bundle()
	b.Upstream.ServerName, b.Upstream.CA = shopHost, newCertificate(t, 2).Chain
	w.mount(b)
	w.start()
	if got := w.do("GET", "/public", ""); got.Status != 502 || got.reason() != "app_untrusted" {
		t.Errorf("got %d %q, want 502 app_untrusted", got.Status, got.reason())
	}
}
