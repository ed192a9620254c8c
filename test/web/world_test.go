package web

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/password"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/test/controlplane"
)

const (
	issuerURL = "https://auth.example"
	audience  = "shop"
	// Names that the browser resolves to the servers of a world. The neighbour is of the same site as the app, but of another origin.
	appHost, neighbourHost, strangerHost = "shop.example", "blog.shop.example", "evil.example"
	// The same of an app that renders its pages on the server.
	pagesHost, pagesNeighbourHost = "orders.example", "blog.orders.example"
)

// world is what a browser meets: an app behind a sidecar, with a token service, and pages of others.
type world struct {
	testing.TB
	dir, output string
	network     string // the first three numbers of its loopback addresses
	ca          *pki.CA
	certificate *pki.Certificate // of the app, the neighbour and the stranger
	tokens      sidecartoken.Token

	mu   sync.Mutex
	stop func() // ends the token service; nil while it does not run
}

// newWorld starts everything. What programs print is kept beside the pictures.
func newWorld(t testing.TB, project string) *world {
	t.Helper()
	w := &world{
		TB: t, dir: t.TempDir(), output: outputDir(t), network: fmt.Sprintf("127.%d.%d.", 128+rand.N(100), rand.N(256)), tokens: sidecartoken.New(),
	}
	w.build("issuer")
	w.build("sidecar")
	var err error
	w.ca, err = pki.NewCA(time.Now())
	check(t, err)
	w.certificate, err = w.ca.Issue([]string{appHost, neighbourHost, strangerHost, pagesHost, pagesNeighbourHost}, []net.IP{net.ParseIP(w.network + "10")}, time.Now())
	check(t, err)
	serve(w, w.network+"2:8443", app(project), nil)
	serve(w, w.network+"4:8443", stranger(), w.certificate.TLS())
	w.writeTokenService()
	check(t, w.startTokenService())
	t.Cleanup(w.stopTokenService)
	w.startPod("", "1", "2", w.bundle())
	w.startPages()
	w.startMobile(project)
	return w
}

func (w *world) build(name string) {
	w.Helper()
	_ = os.Remove(w.log(name)) // of an earlier run
	build := exec.CommandContext(w.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(w.dir, name), "./cmd/"+name)
	build.Dir, build.Env = controlplane.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		w.Fatalf("build %s: %v\n%s", name, err, output)
	}
}

// forBrowser is what the tests in the browser have to know, in JSON.
func (w *world) forBrowser(chromium, control string) string {
	w.Helper()
	leaf, err := x509.ParseCertificate(w.certificate.TLS().Certificate[0])
	check(w, err)
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	data, err := json.Marshal(map[string]string{
		"chromium": chromium, "pictures": w.output, "control": control, "key": base64.StdEncoding.EncodeToString(key[:]), "address": w.network + "1",
		"authority": string(w.ca.CertPEM()), "app": "https://" + appHost, "neighbour": "https://" + neighbourHost, "stranger": "https://" + strangerHost,
		"orders": "https://" + pagesHost, "ordersNeighbour": "https://" + pagesNeighbourHost, "issuer": "http://" + w.network + "3:8081", "mobile": "https://" + w.network + "10:8443",
		"hosts": fmt.Sprintf("MAP %s:443 %s1:8443, MAP %s:443 %s4:8443, MAP %s:443 %s4:8443, MAP %s:443 %s5:8443, MAP %s:443 %s4:8443, MAP * ~NOTFOUND, EXCLUDE localhost",
			appHost, w.network, neighbourHost, w.network, strangerHost, w.network, pagesHost, w.network, pagesNeighbourHost, w.network),
	})
	check(w, err)
	return string(data)
}

func (w *world) log(name string) string { return filepath.Join(w.output, name+".log") }

func (w *world) path(name string) string { return filepath.Join(w.dir, name+".d") }

func (w *world) write(volume, name string, data []byte) {
	w.Helper()
	check(w, os.MkdirAll(w.path(volume), 0o700))
	check(w, os.WriteFile(filepath.Join(w.path(volume), name), data, 0o600))
}

// mobile begins the names of what is there for a mobile app: a token service of its own, over the same keys.
const mobile = "mobile-"

// writeTokenService writes what a kubelet would mount for both of them. Access tokens live as briefly as they may, so that a test sees several.
func (w *world) writeTokenService() {
	w.Helper()
	for names, delivery := range map[string]config.Delivery{"": config.DeliverByCookie, mobile: config.DeliverInBody} {
		settings := config.Config{
			Issuer: issuerURL, Audiences: []string{audience}, AccessTokenTTL: config.MinAccessTokenTTL, IdleLifetime: 24 * time.Hour,
			AbsoluteLifetime: 72 * time.Hour, ReuseWindow: 5 * time.Second, Delivery: delivery, MaxSessionsPerUser: config.MaxSessions, OnLimit: config.EndOldest,
			IPBinding: config.IPBindingLog, Login: config.Login{Users: true},
		}
		data, err := settings.Marshal()
		check(w, err)
		w.write(names+"config", config.File, data)
		check(w, os.Mkdir(w.path(names+"data"), 0o700))
	}

	w.write("users", users.File, []byte("users:\n"+user(w, "alice", "[admin]")+user(w, "bob", "[]")+user(w, "carol", "[]")))
	w.write("sidecars", sidecartoken.File, []byte(w.tokens.Encode()))

	schedule := rotation.Schedule{Algorithm: "ES256", RotateEvery: 24 * time.Hour, PublishLead: time.Hour, Retain: 100 * time.Hour}
	var ring *signing.Ring
	now := time.Now()
	ring, err := ring.Execute(rotation.Decide(now, schedule, ring.Rotation()), now, signing.Generate)
	check(w, err)
	files, err := ring.SecretData(now, schedule.Retain)
	check(w, err)
	for _, name := range []string{signing.KeySetFile, signing.RingFile} {
		w.write("ring", name, files[name])
	}

	certificate, err := w.ca.Issue([]string{"issuer.test"}, nil, time.Now())
	check(w, err)
	w.write("tls", "tls.crt", certificate.CertPEM())
	w.write("tls", "tls.key", certificate.KeyPEM())
}

// user is an entry of users.yaml.
func user(t testing.TB, name, roles string) string {
	t.Helper()
	hash, err := password.New([]byte("the password of "+name), password.Parameters{Memory: password.MinMemory, Time: 5, Threads: 1})
	check(t, err)
	return fmt.Sprintf("- name: %s\n  passwordHash: %s\n  claims: {roles: %s}\n", name, hash.Encode(), roles)
}

func (w *world) startTokenService() (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop, err = w.runTokenService("", "3")
	return err
}

// runTokenService runs one at an address. Names begin the names of its own directories.
func (w *world) runTokenService(names, address string) (stop func(), err error) {
	at := w.network + address
	return w.run("issuer", "http://"+at+":8081/readyz", "--config="+w.path(names+"config"), "--ring="+w.path("ring"), "--users="+w.path("users"),
		"--sidecars="+w.path("sidecars"), "--tls="+w.path("tls"), "--data="+w.path(names+"data"), "--listen="+at+":8443", "--admin-address="+at+":8081")
}

// startMobile runs what a mobile app reaches.
func (w *world) startMobile(project string) {
	w.Helper()
	stop, err := w.runTokenService(mobile, "9")
	check(w, err)
	w.Cleanup(stop)
	serve(w, w.network+"11:8443", app(project), nil)
	b := w.bundle()
	b.Issuers[0].TokenService.Address = w.network + "9:8443"
	w.startPod(mobile, "10", "11", b)
	w.write("ca", "ca.crt", w.ca.CertPEM())
}

func (w *world) stopTokenService() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// startPod runs the sidecar of one pod in front of its app. Names begin the names of its directories; the numbers are those of the pod's and the
// app's address.
func (w *world) startPod(names, pod, app string, b *bundle.Bundle) {
	w.Helper()
	data, err := b.Marshal()
	check(w, err)
	w.write(names+"bundle", bundle.FileName, data)
	check(w, os.Mkdir(w.path(names+"state"), 0o700))
	stop, err := w.run("sidecar", "http://"+w.network+pod+":15020/readyz", "--bundle="+w.path(names+"bundle"), "--state="+w.path(names+"state"),
		"--pod-ips="+w.network+pod, "--port=8443", "--app-host="+w.network+app)
	check(w, err)
	w.Cleanup(stop)
}

// bundle is what the manager would make of an AuthPolicy.
func (w *world) bundle() *bundle.Bundle {
	w.Helper()
	keys, err := os.ReadFile(filepath.Join(w.path("ring"), signing.KeySetFile))
	check(w, err)
	return &bundle.Bundle{
		Policy: policy.Document{
			Rules: []policy.Rule{
				{Paths: []policy.Path{{Exact: "/"}, {Prefix: "/public"}}, Access: policy.AccessAnonymous},
				{Paths: []policy.Path{{Prefix: "/admin"}}, Claims: []policy.Requirement{{Claim: "roles", AnyOf: []string{"admin"}}}},
			},
			Default: policy.AccessAuthenticated,
			Headers: []policy.Header{{Name: "X-Auth-Subject", Claim: "sub"}},
		},
		Issuers: []bundle.Issuer{{
			URL: issuerURL, Audiences: []string{audience}, TokenType: "at+jwt", Keys: keys,
			TokenService: &bundle.TokenService{URL: "https://issuer.test:8443", Address: w.network + "3:8443", CA: string(w.ca.CertPEM()), Token: w.tokens},
		}},
		Session:     &bundle.Session{PathPrefix: "/auth", Issuer: issuerURL},
		Certificate: &bundle.Certificate{Chain: string(w.certificate.CertPEM()), Key: w.certificate.KeyPEM()},
		AccessLog:   bundle.AccessLogAll,
	}
}

// run starts a program, and returns how to end it once it answers 200.
func (w *world) run(name, ready string, args ...string) (stop func(), err error) {
	output, err := os.OpenFile(w.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	program := exec.Command(filepath.Join(w.dir, name), args...)
	program.Stdout, program.Stderr = output, output
	if err := program.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = program.Process.Kill() // as a node that fails would
		_ = program.Wait()         // which says that it was killed
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		response, err := http.Get(ready)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return stop, nil
			}
		}
		if time.Since(began) > time.Minute {
			stop()
			return nil, fmt.Errorf("%s is not ready; see %s", name, output.Name())
		}
	}
}

// serve serves until the test ends.
func serve(t testing.TB, address string, handler http.Handler, certificate *tls.Certificate) (at string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	check(t, err)
	at = listener.Addr().String()
	if certificate != nil {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*certificate}})
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)} // a browser hangs up as it likes
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return at
}

// control lets the tests in the browser stop and start the token service, and is an origin on localhost, without TLS.
func (w *world) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token-service/stop", func(http.ResponseWriter, *http.Request) { w.stopTokenService() })
	mux.HandleFunc("POST /token-service/start", func(over http.ResponseWriter, _ *http.Request) {
		if err := w.startTokenService(); err != nil {
			http.Error(over, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("GET /cookie", func(over http.ResponseWriter, _ *http.Request) {
		http.SetCookie(over, &http.Cookie{Name: "__Secure-latchkey-refresh", Value: "x", Path: "/auth", MaxAge: 60, HttpOnly: true, Secure: true,
			SameSite: http.SameSiteStrictMode})
	})
	return mux
}

// app knows nothing of tokens. It serves pages, and answers other requests with what it received.
func app(project string) http.Handler {
	mux := http.NewServeMux()
	pages := http.StripPrefix("/public", http.FileServer(http.Dir(filepath.Join(project, "browser"))))
	for path, dir := range map[string]string{"/public/latchkey": "dist", "/public/docs": "docs"} {
		mux.Handle(path+"/", http.StripPrefix(path, http.FileServer(http.Dir(filepath.Join(project, dir)))))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/": // as strict as pages should be, but for those that test what the browser would not let them
			w.Header().Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
			r.URL.Path = "/public/page.html"
			pages.ServeHTTP(w, r)
		case r.URL.Path == "/public/away":
			http.Redirect(w, r, "https://"+strangerHost+"/taken", http.StatusTemporaryRedirect)
		case strings.HasPrefix(r.URL.Path, "/public/"):
			pages.ServeHTTP(w, r)
		default:
			body, _ := io.ReadAll(r.Body) // a browser that gives up gets no answer
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"hello": r.Header.Get("X-Auth-Subject"), "headers": r.Header, "body": string(body)})
		}
	})
	return mux
}

// stranger serves an empty page, and lets everybody send it everything. It tells what came.
func stranger() http.Handler {
	var mu sync.Mutex
	taken := []http.Header{}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>Another site</title><h1>Win a prize</h1>")
	})
	mux.HandleFunc("/taken", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
		if r.Method == http.MethodOptions {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		taken = append(taken, r.Header)
		_ = json.NewEncoder(w).Encode(taken)
	})
	return mux
}

func outputDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(controlplane.Root(), "test", "output", "web")
	check(t, os.MkdirAll(dir, 0o755))
	return dir
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
