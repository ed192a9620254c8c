package issuer_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/pki"
)

func TestConfigurationIsTakenLive(t *testing.T) {
	w := start(t)
	changed := defaults
	changed.AccessTokenTTL = 10 * time.Second
	changed.Audiences = []string{"shop", "billing"}
	w.change("latchkey-config", func() { w.writeConfig(changed) })
	a := w.login("alice")
	if got, want := a.expires, int64(10); got != want {
		t.Errorf("expires_in: got %d, want %d", got, want)
	}
	if _, claims := w.claims(a.access); len(claims["aud"].([]any)) != 2 {
		t.Errorf("aud: got %v, want shop and billing", claims["aud"])
	}
}

func TestTheNextKeySignsAsSoonAsItIsMounted(t *testing.T) {
	w := start(t)
	for _, algorithm := range []string{"RS256", "EdDSA", "ES256"} {
		w.change("latchkey-ring", func() { w.rotate(algorithm) })
		header, _ := w.claims(w.login("alice").access)
		if got, want := header["alg"], algorithm; got != want {
			t.Errorf("alg: got %v, want %v", got, want)
		}
		if _, ids := w.applied(); len(ids) != 1 || ids[0] != header["kid"] {
			t.Errorf("keyIDs: got %v, want %v", ids, header["kid"])
		}
	}
}

func TestSharedSecretsAreNeverPublished(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rings []string
		want  []string // algorithms that are published
	}{
		{"when they sign", []string{"HS256"}, nil},
		{"when they have just begun to sign", []string{"ES256", "HS256"}, []string{"ES256"}},
		{"when they have just ceased to sign", []string{"HS256", "EdDSA"}, []string{"EdDSA"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t)
			w.change("latchkey-ring", func() { w.rotate(tc.rings...) })
			if got := w.do(w.loginRequest("alice", passwordOf("alice"))); got.status != http.StatusOK {
				t.Fatalf("login: got %d %s", got.status, got.body)
			}
			var set struct {
				Keys []struct{ Alg, Kty string }
			}
			if err := json.Unmarshal([]byte(w.do(w.get("/.well-known/jwks.json")).body), &set); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, key := range set.Keys {
				got = append(got, key.Alg)
				if key.Kty == "oct" {
					t.Error("published a secret")
				}
			}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("published (-got +want):\n%s", diff)
			}
		})
	}
}

func TestAKeyIsNotPublishedBeyondItsEnd(t *testing.T) {
	w := start(t)
	w.change("latchkey-ring", func() { w.rotate("RS256", "ES256") })
	for _, tc := range []struct {
		after time.Duration
		want  int
	}{{0, 2}, {90 * time.Hour, 2}, {20 * time.Hour, 1}} {
		w.clock.step(tc.after)
		var set struct{ Keys []json.RawMessage }
		if err := json.Unmarshal([]byte(w.do(w.get("/.well-known/jwks.json")).body), &set); err != nil {
			t.Fatal(err)
		}
		if got := len(set.Keys); got != tc.want {
			t.Errorf("%v later: got %d keys, want %d", tc.after, got, tc.want)
		}
	}
}

func TestTheServingCertificateIsTakenLive(t *testing.T) {
	w := start(t)
	ca, err := pki.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := net.SplitHostPort(w.address)
	certificate, err := ca.Issue(nil, []net.IP{net.ParseIP(host)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	// Between the two writes certificate and key do not fit; a kubelet swaps both at once, and we wait for the second.
	w.write("tls", "tls.key", certificate.KeyPEM())
	w.change("latchkey-tls", func() { w.write("tls", "tls.crt", certificate.CertPEM()) })
	w.client.CloseIdleConnections()
	if _, err := w.try(w.get("/.well-known/jwks.json")); err == nil {
		t.Error("the old certificate is still served")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertPEM())
	w.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	w.do(w.get("/.well-known/jwks.json"))
}

func TestWhatIsBrokenLeavesTheLastGoodInForce(t *testing.T) {
	for _, tc := range []struct {
		volume, file, content, want string
	}{
		{"config", "config.json", `{"version":2}`, "config.json: "},
		{"config", "config.json", ``, "config.json: ends too early"},
		{"users", "users.yaml", "users: [{name: alice, password: hunter2}]", "users.yaml: users[0].password: unknown field"},
		{"ring", "ring.json", `{"version":1,"keys":[]}`, "ring.json: "},
		{"ring", "jwks.json", `{"keys":[]}`, "jwks.json: "},
		{"tls", "tls.crt", "no certificate", "tls.crt and tls.key: "},
	} {
		t.Run(tc.volume+"/"+tc.file+" "+tc.want, func(t *testing.T) {
			w := start(t)
			token := w.login("alice").refresh()
			volume := "latchkey-" + tc.volume
			before, _ := w.applied()
			w.write(tc.volume, tc.file, []byte(tc.content))
			var after map[string]volumeState
			w.eventually("rejected", func() bool {
				after, _ = w.applied()
				return after[volume].Rejected != ""
			})
			if got, want := after[volume].Applied, before[volume].Applied; got != want {
				t.Errorf("applied: got %s, want still %s", got, want)
			}
			if got := after[volume].Error; !strings.HasPrefix(got, tc.want) || strings.Contains(got, "hunter2") {
				t.Errorf("error: got %q, want %q…", got, tc.want)
			}
			w.client.CloseIdleConnections() // so that the certificate is asked for again
			w.mustRefresh(token)
			w.login("alice")
			if status, body, err := w.tryAdmin("/readyz"); err != nil || status != http.StatusOK {
				t.Errorf("readyz: got %d %s %v, want 200", status, body, err)
			}
			if _, metrics, _ := w.tryAdmin("/metrics"); !strings.Contains(metrics, `latchkey_issuer_volume_rejected{volume="`+volume+`"} 1`) {
				t.Error("no metric tells of it")
			}
		})
	}
}

func TestWhatIsToldOfABrokenVolumeIsShort(t *testing.T) {
	w := start(t)
	w.write("ring", "ring.json", []byte(`{"version":1,"keys":[{}`+strings.Repeat(",{}", 5000)+`]}`))
	w.eventually("rejected", func() bool {
		volumes, _ := w.applied()
		return volumes["latchkey-ring"].Error != ""
	})
	_, body, err := w.tryAdmin("/applied")
	if err != nil {
		t.Fatal(err)
	}
	if got, most := len(body), 16<<10; got > most {
		t.Errorf("/applied: got %d bytes, want at most %d for one fault: the manager reads 64 KiB", got, most)
	}
	if got, most := len(w.log.String()), 32<<10; got > most {
		t.Errorf("log: got %d bytes, want at most %d", got, most)
	}
}

func TestNothingIsServedBeforeEverythingIsThere(t *testing.T) {
	w := newWorld(t)
	w.write("users", "users.yaml", []byte("users: [oops]"))
	checked := make(chan struct{})
	go func() { // while run waits for readiness
		defer close(checked)
		w.eventually("alive", func() bool { status, _, err := w.tryAdmin("/healthz"); return err == nil && status == http.StatusOK })
		status, body, err := w.tryAdmin("/readyz")
		if err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("readyz: got %d %s %v, want 503", status, body, err)
		}
		w.eventually("certificate", func() bool {
			a, err := w.try(w.loginRequest("alice", passwordOf("alice")))
			if err == nil {
				refused(t, a, http.StatusServiceUnavailable, issuer.ReasonNotReady, false)
				if a.header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
			}
			return err == nil
		})
		w.writeUsers("alice")
	}()
	w.run()
	<-checked
	w.login("alice")
}

func TestProfilesAreServedAtTheirAddressAlone(t *testing.T) {
	w := newWorld(t)
	host, _, _ := net.SplitHostPort(w.admin)
	free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	w.profile = free.Addr().String()
	free.Close()
	w.run()
	const path = "/debug/pprof/heap"
	if status, _, err := w.tryAdmin(path); err != nil || status != http.StatusNotFound {
		t.Errorf("on the admin address: got %d and %v, want 404", status, err)
	}
	w.eventually("profiles are served", func() bool {
		response, err := http.Get("http://" + w.profile + path)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

func TestParseFlags(t *testing.T) {
	good := "--config=/c --ring=/r --sidecars=/s --users=/u --tls=/t --data=/d --listen=10.0.0.1:8443 --admin-address=[fd00::1]:8081"
	for _, tc := range []struct{ name, flags, want string }{
		{"takes all that is needed", good, ""},
		{"takes an IPv4 address in brackets", strings.Replace(good, "10.0.0.1:8443", "[10.0.0.1]:8443", 1), ""},
		{"refuses brackets that do not close", strings.Replace(good, "10.0.0.1:8443", "[10.0.0.1:8443", 1),
			`invalid value "[10.0.0.1:8443" for flag -listen: must be an IP address and a port, as 10.0.0.1:8443 or [fd00::1]:8443`},
		{"takes a log level", good + " --log-level=debug", ""},
		{"names every flag that is missing", "--config=/c --listen=10.0.0.1:8443",
			"--ring: required\n--sidecars: required\n--tls: required\n--data, --postgresql, --redis: one of these is required\n--owner: required for a shared database\n--admin-address: required"},
		{"refuses an unknown flag", good + " --verbose", "flag provided but not defined: -verbose"},
		{"refuses an argument", good + " serve", `unexpected argument "serve"`},
		{"refuses an address without a port", strings.Replace(good, "10.0.0.1:8443", "10.0.0.1", 1),
			`invalid value "10.0.0.1" for flag -listen: must be an IP address and a port, as 10.0.0.1:8443 or [fd00::1]:8443`},
		{"refuses a host name", strings.Replace(good, "10.0.0.1:8443", "localhost:8443", 1),
			`invalid value "localhost:8443" for flag -listen: must be an IP address and a port, as 10.0.0.1:8443 or [fd00::1]:8443`},
		{"takes an address for profiles", good + " --profile-address=127.0.0.1:8081", ""},
		{"refuses profiles where others could reach them", good + " --profile-address=10.0.0.1:6060",
			"--profile-address: must be a loopback address, such as 127.0.0.1: 10.0.0.1 could be reached from elsewhere"},
		{"refuses one address for two servers", strings.Replace(good, "[fd00::1]:8081", "10.0.0.1:8443", 1),
			"--admin-address: 10.0.0.1:8443 is --listen already"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var help bytes.Buffer
			_, err := issuer.ParseFlags(strings.Fields(tc.flags), &help)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("error:\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}
