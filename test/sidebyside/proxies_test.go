package sidebyside

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

// How many tokens are sent in turn: as many as a sidecar remembers with ease, or more than it can remember.
const (
	known = 1_000
	fresh = 12_000
)

const (
	issuerURL = "https://auth.example"
	audience  = "shop"
)

// key is one for tokens, as ours and as others take it.
type key struct {
	*signing.Key
	algorithm string
	publicPEM string
}

func newKey(t testing.TB, algorithm string) key {
	t.Helper()
	var private crypto.Signer
	var err error
	switch algorithm {
	case "RS256":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	ring, err := signing.Import(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "key-"+algorithm, algorithm, time.Now())
	check(t, err)
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	check(t, err)
	active, ok := ring.Active()
	if !ok {
		t.Fatal("the ring has no active key")
	}
	return key{Key: active, algorithm: algorithm, publicPEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))}
}

// tokens are n different ones, of the usual claims and of 500 to 700 bytes.
func (k key) tokens(t testing.TB, n int) []string {
	t.Helper()
	tokens, faults := make([]string, n), make([]error, n)
	now := time.Now()
	var signing sync.WaitGroup
	for worker := range runtime.NumCPU() {
		signing.Go(func() {
			for i := worker; i < n; i += runtime.NumCPU() {
				var claims []byte
				claims, faults[i] = json.Marshal(map[string]any{
					"iss": issuerURL, "aud": audience, "sub": fmt.Sprintf("user-%d", i), "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(),
					"jti": fmt.Sprintf("token-%d", i), "sid": fmt.Sprintf("session-%d", i), "roles": []string{"editor", "reader"},
					"email": fmt.Sprintf("user%d@shop.example", i), "scope": "orders:read orders:write profile", "client_id": "shop",
				})
				if faults[i] == nil {
					tokens[i], faults[i] = k.Sign("at+jwt", claims)
				}
			}
		})
	}
	signing.Wait()
	check(t, errors.Join(faults...))
	return tokens
}

// bundleOf is a policy of so many rules, the last of which counts, that sets three identity headers, for the keys' issuer and so many others.
func bundleOf(t testing.TB, rules, others int, keys ...key) []byte {
	t.Helper()
	b := &bundle.Bundle{Policy: policy.Document{Default: policy.AccessDeny, Headers: []policy.Header{
		{Name: "X-Auth-Subject", Claim: "sub"}, {Name: "X-Auth-Roles", Claim: "roles"}, {Name: "X-Auth-Email", Claim: "email"},
	}}}
	for i := range rules - 1 {
		b.Policy.Rules = append(b.Policy.Rules, policy.Rule{Paths: []policy.Path{{Prefix: fmt.Sprintf("/other%d", i)}}, Access: policy.AccessDeny})
	}
	b.Policy.Rules = append(b.Policy.Rules, policy.Rule{
		Paths: []policy.Path{{Prefix: "/orders"}}, Claims: []policy.Requirement{{Claim: "roles", AnyOf: []string{"editor"}}},
	})
	var public []*keyset.Key
	for _, each := range keys {
		public = append(public, each.Public(time.Time{}))
	}
	set, err := keyset.NewSet(public...)
	check(t, err)
	jwks, err := set.Marshal()
	check(t, err)
	for i := range others {
		b.Issuers = append(b.Issuers, bundle.Issuer{URL: fmt.Sprintf("https://other%d.example", i), Audiences: []string{audience}, Keys: jwks})
	}
	b.Issuers = append(b.Issuers, bundle.Issuer{URL: issuerURL, Audiences: []string{audience}, TokenType: "at+jwt", Keys: jwks})
	data, err := b.Marshal()
	check(t, err)
	return data
}

// The names of those that goals are about.
const (
	plainHAProxy = "HAProxy, no check"
	knownTokens  = "sidecar, known tokens"
	manyRules    = knownTokens + ", 500 rules"
	manyIssuers  = knownTokens + ", 50 issuers"
	newTokens    = "sidecar, new tokens "
	checkAlone   = "signature check alone, "
)

// proxies starts all.
func (r *rig) proxies() []proxy {
	r.Helper()
	fmt.Println("making keys and tokens")
	rs, es, ed := newKey(r, "RS256"), newKey(r, "ES256"), newKey(r, "EdDSA")
	knownRS, knownES := rs.tokens(r, known), es.tokens(r, known)
	list := []proxy{
		r.haproxy(plainHAProxy, nil, knownES),
		r.sidecarWith(knownTokens, bundleOf(r, 20, 0, es), knownES),
		r.sidecarWith(manyRules, bundleOf(r, 500, 0, es), knownES),
		r.sidecarWith(manyIssuers, bundleOf(r, 20, 49, es), knownES),
		r.nginx("nginx, no check", knownES),
		r.reverseProxy("Go ReverseProxy, no check", knownES),
		r.haproxy("HAProxy, jwt_verify RS256", &rs, knownRS),
		r.haproxy("HAProxy, jwt_verify ES256", &es, knownES),
	}
	for _, key := range []key{rs, es, ed} {
		list = append(list, r.sidecarWith(newTokens+key.algorithm, bundleOf(r, 20, 0, key), key.tokens(r, fresh)), proxy{name: checkAlone + key.algorithm, check: key.algorithm})
	}
	h2 := r.sidecarWith("sidecar, known token, h2c", bundleOf(r, 20, 0, es), knownES[:1])
	h2.h2 = true
	return append(list, h2)
}

// address is the next of its own.
func (r *rig) address() string { return fmt.Sprintf("127.90.0.%d:8080", 10+r.started) }

func (r *rig) sidecarWith(name string, document []byte, tokens []string) proxy {
	r.Helper()
	address := r.address()
	dir := filepath.Dir(r.write(fmt.Sprintf("bundle%d/%s", r.started, bundle.FileName), string(document)))
	state := filepath.Join(r.dir, fmt.Sprintf("state%d", r.started))
	check(r, os.Mkdir(state, 0o700))
	admin, began := 20000+2*r.started, time.Now() // they share the app's address
	pid := r.start(proxyCore, address, nil, r.sidecar, "--bundle="+dir, "--state="+state, "--pod-ips="+strings.TrimSuffix(address, ":8080"), "--app-host=127.90.0.1",
		"--port=8080", "--log-level=error", fmt.Sprintf("--admin-port=%d", admin), fmt.Sprintf("--probe-port=%d", admin+1))
	adminURL := fmt.Sprintf("http://%s:%d", strings.TrimSuffix(address, ":8080"), admin)
	for !isReady(adminURL + "/readyz") {
		if time.Since(began) > time.Minute {
			r.Fatalf("%s: is not ready after a minute", name)
		}
		<-time.After(time.Millisecond)
	}
	return proxy{name: name, address: address, tokens: tokens, pid: pid, metrics: adminURL + "/metrics", ready: time.Since(began)}
}

func isReady(address string) bool {
	response, err := http.Get(address)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (r *rig) haproxy(name string, verify *key, tokens []string) proxy {
	r.Helper()
	address := r.address()
	checks := ""
	if verify != nil {
		public := r.write(fmt.Sprintf("haproxy%d.pem", r.started), verify.publicPEM)
		checks = fmt.Sprintf(`
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny unless { var(txn.alg) -m str %s }
  http-request deny unless { var(txn.bearer),jwt_verify(txn.alg,"%s") -m int 1 }`, verify.algorithm, public)
	}
	config := r.write(fmt.Sprintf("haproxy%d.cfg", r.started), fmt.Sprintf(`global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend f
  bind %s%s
  default_backend b
backend b
  server s %s
`, address, checks, appAddress))
	return proxy{name: name, address: address, tokens: tokens, pid: r.start(proxyCore, address, nil, "haproxy", "-db", "-f", config)}
}

func (r *rig) nginx(name string, tokens []string) proxy {
	r.Helper()
	address := r.address()
	config := r.write(fmt.Sprintf("nginx%d.conf", r.started), nginxConfig(fmt.Sprintf("nginx%d", r.started), r.dir, `upstream app { server `+appAddress+`; keepalive 64; keepalive_requests 1000000000; }
  server { listen `+address+`; location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; } }`))
	return proxy{name: name, address: address, tokens: tokens, pid: r.start(proxyCore, address, nil, "nginx", "-c", config, "-e", filepath.Join(r.dir, "nginx.err"))}
}

func (r *rig) reverseProxy(name string, tokens []string) proxy {
	r.Helper()
	own, err := os.Executable()
	check(r, err)
	address := r.address()
	return proxy{name: name, address: address, tokens: tokens, pid: r.start(proxyCore, address, []string{reverseProxy + "=" + address}, own)}
}
