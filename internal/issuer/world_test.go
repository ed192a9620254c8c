package issuer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/password"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/test/servers"
)

// world is a token service with everything around it: mounted directories, a database, clients.
type world struct {
	t       testing.TB
	dir     string
	address string // of the token service
	admin   string
	profile string // "": there are none
	clock   *clock
	roots   *x509.CertPool
	client  *http.Client
	log     *lockedBuffer
	store   string        // "": SQLite; "postgresql" or "redis": says the volume store
	skew    time.Duration // of this machine's clock, with a shared store
	sidecar sidecartoken.Token
	without string // the volume that is not mounted
	with    string // the volume that is mounted beside those that always are

	mu      sync.Mutex
	secrets []string // must not turn up in the log
}

// defaults is the configuration of a world unless a test asks for another.
var defaults = config.Config{
	Issuer:             "https://auth.example.com",
	Audiences:          []string{"shop"},
	AccessTokenTTL:     5 * time.Minute,
	IdleLifetime:       24 * time.Hour,
	AbsoluteLifetime:   72 * time.Hour,
	ReuseWindow:        10 * time.Second,
	Delivery:           config.DeliverByCookie,
	MaxSessionsPerUser: 5,
	OnLimit:            config.EndOldest,
	IPBinding:          config.IPBindingLog,
	Login:              config.Login{Users: true},
}

var hashes = sync.OnceValue(func() map[string]string {
	made := map[string]string{}
	for _, name := range []string{"alice", "bob"} {
		h, err := password.New([]byte(passwordOf(name)), password.Parameters{Memory: password.MinMemory, Time: 5, Threads: 1})
		if err != nil {
			panic(err)
		}
		made[name] = h.Encode()
	}
	return made
})

func passwordOf(name string) string { return "the password of " + name }

// newWorld makes the files of a world, in which nothing runs yet.
func newWorld(t testing.TB) *world {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d", 128+rand.N(100), rand.N(256), 1+rand.N(254))
	w := &world{t: t, dir: t.TempDir(), address: host + ":8443", admin: host + ":8081", clock: newClock(), log: &lockedBuffer{}, sidecar: sidecartoken.New()}
	w.writeConfig(defaults)
	w.writeUsers("alice", "bob")
	w.rotate("ES256")
	w.write("sidecars", sidecartoken.File, []byte(w.sidecar.Encode()))

	ca, err := pki.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Issue([]string{"issuer.test"}, []net.IP{net.ParseIP(host)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.write("tls", "tls.crt", certificate.CertPEM())
	w.write("tls", "tls.key", certificate.KeyPEM())
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM(ca.CertPEM())
	// A thousand requests at once share connections, as streams of HTTP/2. Each with its own would ask for more files than a user may open,
	// and for more handshakes than two processors get done in time.
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}, MaxConnsPerHost: 16, MaxIdleConnsPerHost: 16, ForceAttemptHTTP2: true}
	w.client = &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	if err := os.Mkdir(filepath.Join(w.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

// start runs a token service in a world of its own until the test ends.
func start(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.run()
	return w
}

// run runs the token service and returns how to stop it, which happens by itself when the test ends.
func (w *world) run() (stop func()) {
	w.t.Helper()
	stop = w.runUnready()
	w.awaitReady()
	return stop
}

// runUnready does not wait for it to be ready.
func (w *world) runUnready() (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	options := w.options()
	options.Now = w.clock.Now
	if w.store != "" { // whose own clock counts
		options.Now = func() time.Time { return time.Now().Add(w.skew) }
	}
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() { done <- issuer.Run(ctx, options, log) }()
	stop = sync.OnceFunc(func() {
		w.client.CloseIdleConnections() // or the server would wait a second for them to take their leave
		cancel()
		select {
		case err := <-done:
			if err != nil {
				w.t.Errorf("run: %v", err)
			}
		case <-time.After(time.Minute):
			w.t.Error("the token service does not stop")
		}
		w.checkLog()
	})
	w.t.Cleanup(stop)
	w.eventually("listening", func() bool {
		status, _, err := w.tryAdmin("/healthz")
		return err == nil && status == http.StatusOK
	})
	return stop
}

func (w *world) options() issuer.Options {
	o := issuer.Options{
		Config: filepath.Join(w.dir, "config"), Ring: filepath.Join(w.dir, "ring"), Users: filepath.Join(w.dir, "users"),
		Sidecars: filepath.Join(w.dir, "sidecars"), TLS: filepath.Join(w.dir, "tls"), Owner: "default/shop",
		Listen: netip.MustParseAddrPort(w.address), AdminAddress: netip.MustParseAddrPort(w.admin),
	}
	if w.without == "users" {
		o.Users = ""
	}
	if w.profile != "" {
		o.ProfileAddress = netip.MustParseAddrPort(w.profile)
	}
	if w.with == "webhook" {
		o.Webhook = filepath.Join(w.dir, "webhook")
	}
	switch w.store {
	case "postgresql":
		o.PostgreSQL = filepath.Join(w.dir, "store")
	case "redis":
		o.Redis = filepath.Join(w.dir, "store")
	default:
		o.Data = filepath.Join(w.dir, "data")
	}
	return o
}

// checkLog looks for what a log must never hold: tokens, passwords, hashes.
func (w *world) checkLog() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log.String()
	for _, secret := range w.secrets {
		if strings.Contains(log, secret) {
			w.t.Errorf("the log holds a secret: %.20s…", secret)
		}
	}
	if strings.Contains(log, servers.Password) {
		w.t.Error("the log holds the password of the database")
	}
	if strings.Contains(log, "argon2id") || strings.Contains(log, "the password of") {
		w.t.Error("the log holds a password or its hash")
	}
}

// eventually waits for what another goroutine or process is about to do.
func (w *world) eventually(what string, done func() bool) {
	w.t.Helper()
	late := time.After(time.Minute)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-late:
			w.t.Fatalf("waited in vain: %s\n%s", what, w.log.String())
		case <-again.C:
		}
	}
}

func (w *world) awaitReady() {
	w.t.Helper()
	w.eventually("ready", func() bool {
		status, _, err := w.tryAdmin("/readyz")
		return err == nil && status == http.StatusOK
	})
}

func (w *world) tryAdmin(path string) (int, string, error) {
	response, err := http.Get("http://" + w.admin + path)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

type volumeState struct{ Applied, Rejected, Error string }

func (w *world) applied() (volumes map[string]volumeState, keyIDs []string) {
	w.t.Helper()
	_, body, err := w.tryAdmin("/applied")
	if err != nil {
		w.t.Fatal(err)
	}
	var answer struct {
		Volumes map[string]volumeState
		KeyIDs  []string
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		w.t.Fatal(err)
	}
	return answer.Volumes, answer.KeyIDs
}

// write replaces one file of a volume at once, as a kubelet would.
func (w *world) write(volume, name string, data []byte) {
	w.t.Helper()
	dir := filepath.Join(w.dir, volume)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	scratch := filepath.Join(w.dir, "scratch")
	if err := os.WriteFile(scratch, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(scratch, filepath.Join(dir, name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) writeConfig(c config.Config) {
	w.t.Helper()
	data, err := c.Marshal()
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("config", config.File, data)
}

func (w *world) writeUsers(names ...string) {
	w.t.Helper()
	text := "users:\n"
	for _, name := range names {
		text += fmt.Sprintf("- name: %s\n  passwordHash: %s\n  claims: {email: %s@example.com, roles: [tester]}\n", name, hashes()[name], name)
	}
	if len(names) == 0 {
		text = "users: []\n"
	}
	w.write("users", users.File, []byte(text))
}

// rehash writes the users anew, one of them with another hash.
func (w *world) rehash(name string) {
	w.t.Helper()
	fresh, err := password.New([]byte(passwordOf(name)), password.Parameters{Memory: password.MinMemory, Time: 5, Threads: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(w.dir, "users", users.File))
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("users", users.File, bytes.ReplaceAll(before, []byte(hashes()[name]), []byte(fresh.Encode())))
}

// change changes a volume and waits until it is in force.
func (w *world) change(volume string, change func()) {
	w.t.Helper()
	before, _ := w.applied()
	change()
	w.eventually(volume+" applied", func() bool {
		after, _ := w.applied()
		return after[volume].Applied != before[volume].Applied && after[volume].Error == ""
	})
}

// rotate makes a new ring that has gone through these algorithms; the last one signs, and the others still verify.
func (w *world) rotate(algorithms ...string) {
	w.t.Helper()
	const lead, retain = time.Hour, 100 * time.Hour
	var ring *signing.Ring
	now := w.clock.Now()
	for _, algorithm := range algorithms {
		schedule := rotation.Schedule{Algorithm: algorithm, RotateEvery: 24 * time.Hour, PublishLead: lead, Retain: retain}
		for { // publish, and when the time has come, activate
			plan := rotation.Decide(now, schedule, ring.Rotation())
			var err error
			if ring, err = ring.Execute(plan, now, signing.Generate); err != nil {
				w.t.Fatal(err)
			}
			if active, ok := ring.Active(); ok && active.Algorithm() == algorithm {
				break
			}
			now = now.Add(lead)
		}
	}
	data, err := ring.SecretData(now, retain)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("ring", signing.KeySetFile, data[signing.KeySetFile])
	w.write("ring", signing.RingFile, data[signing.RingFile])
}

// answer is what came back over the wire.
type answer struct {
	status  int
	header  http.Header
	body    string
	reason  string // of a problem
	access  string
	expires int64
	cookie  *http.Cookie // nil: none was set
	inBody  string       // the refresh token
	oauth   string       // the error, in OAuth's words
}

func (a answer) refresh() string {
	if a.cookie == nil {
		return a.inBody
	}
	return a.cookie.Value
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	a, err := w.try(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) try(r *http.Request) (answer, error) {
	response, err := w.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode, header: response.Header, body: string(body)}
	if err := asDescribed(r, a.status, a.header, a.body); err != nil {
		return answer{}, fmt.Errorf("not as the description says: %w", err)
	}
	var members struct {
		Reason  string
		Access  string `json:"access_token"`
		Expires int64  `json:"expires_in"`
		Refresh string `json:"refresh_token"`
		Error   string
	}
	if strings.Contains(response.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(body, &members); err != nil {
			return answer{}, err
		}
	}
	a.reason, a.access, a.expires, a.inBody, a.oauth = members.Reason, members.Access, members.Expires, members.Refresh, members.Error
	for _, c := range response.Cookies() {
		if c.Name == issuer.CookieName {
			a.cookie = c
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, secret := range []string{a.access, a.refresh()} {
		if secret != "" {
			w.secrets = append(w.secrets, secret)
		}
	}
	return a, nil
}

// post makes a request as a sidecar would.
func (w *world) post(path, cookie, body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, "https://"+w.address+path, strings.NewReader(body))
	if err != nil {
		panic(err) // the paths are this package's own
	}
	r.Header.Set("X-Forwarded-Prefix", "/auth")
	w.from(r, "192.0.2.7")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		r.Header.Set("Cookie", issuer.CookieName+"="+cookie)
	}
	return r
}

// from lets a request come through a sidecar that saw a client of this address.
func (w *world) from(r *http.Request, address string) *http.Request {
	w.asSidecar(r).Header.Set("X-Forwarded-For", address)
	return r
}

// asSidecar lets a request come from a sidecar.
func (w *world) asSidecar(r *http.Request) *http.Request {
	w.sidecar.Show(r.Header)
	return r
}

// form makes a request as an OAuth client would.
func (w *world) form(path string, parameters ...string) *http.Request {
	values := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		values.Add(parameters[i], parameters[i+1])
	}
	r := w.post(path, "", values.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (w *world) get(path string) *http.Request {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://"+w.address+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) loginRequest(name, pass string) *http.Request {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"username": name, "password": pass})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.post("/login", "", string(body))
}

// login signs a user in, which must succeed.
func (w *world) login(name string) answer {
	w.t.Helper()
	a := w.do(w.loginRequest(name, passwordOf(name)))
	if a.status != http.StatusOK || a.refresh() == "" {
		w.t.Fatalf("login: got %d %s", a.status, a.body)
	}
	return a
}

func (w *world) refresh(token string) answer {
	w.t.Helper()
	return w.do(w.post("/refresh", token, ""))
}

// mustRefresh refreshes, which must succeed.
func (w *world) mustRefresh(token string) answer {
	w.t.Helper()
	a := w.refresh(token)
	if a.status != http.StatusOK || a.refresh() == "" {
		w.t.Fatalf("refresh: got %d %s", a.status, a.body)
	}
	return a
}

// refused checks that a request was refused, for this reason, and whether the cookie was cleared.
func refused(t testing.TB, a answer, status int, reason issuer.Reason, cleared bool) {
	t.Helper()
	if a.status != status || a.reason != string(reason) {
		t.Errorf("got %d %s, want %d %s", a.status, a.reason, status, reason)
	}
	if a.access != "" {
		t.Error("got an access token")
	}
	if got := a.cookie != nil && a.cookie.Value == "" && a.cookie.MaxAge < 0; got != cleared {
		t.Errorf("cookie cleared: got %v, want %v", got, cleared)
	}
	if a.cookie != nil && a.cookie.Value != "" {
		t.Error("got a cookie")
	}
}

// claims checks an access token against the published keys and returns its header and claims.
func (w *world) claims(token string) (header, claims map[string]any) {
	w.t.Helper()
	set, err := keyset.Parse([]byte(w.do(w.get("/.well-known/jwks.json")).body))
	if err != nil {
		w.t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		w.t.Fatalf("the token has %d parts", len(parts))
	}
	for i, into := range []*map[string]any{&header, &claims} {
		raw, fault := base64.RawURLEncoding.DecodeString(parts[i])
		if fault != nil {
			w.t.Fatal(fault)
		}
		if fault = json.Unmarshal(raw, into); fault != nil {
			w.t.Fatal(fault)
		}
	}
	key, ok := set.Lookup(header["kid"].(string))
	if !ok {
		w.t.Fatalf("key %v is not published", header["kid"])
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		w.t.Fatal(err)
	}
	if err := key.Verify([]byte(parts[0]+"."+parts[1]), signature); err != nil {
		w.t.Fatal(err)
	}
	return header, claims
}

func (w *world) sid(a answer) string {
	w.t.Helper()
	_, claims := w.claims(a.access)
	return claims["sid"].(string)
}

// clock stands still until it is stepped.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// distinct returns how many different texts there are.
func distinct(texts []string) int {
	return len(slices.Compact(slices.Sorted(slices.Values(texts))))
}
