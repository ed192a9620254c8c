package sidecar_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/sidecar"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuerURL = "https://auth.example"
	audience  = "shop"
	port      = "8080"
	patience  = time.Minute // for what should take milliseconds, on a busy machine
)

// world is one pod: a sidecar in front of an app, with the volumes that a kubelet would mount, on loopback addresses of its own.
type world struct {
	testing.TB
	podIP, appIP string
	bundleDir    string
	stateDir     string
	key          *signing.Key
	client       *http.Client
	log          *logBuffer
	secrets      []string // that must not turn up in the log
	stop         func() error
	versions     int
}

var worlds atomic.Int64

// newWorld returns a pod whose bundle volume is empty and where neither sidecar nor app runs yet.
func newWorld(t testing.TB) *world {
	t.Helper()
	number := worlds.Add(1)
	network := fmt.Sprintf("127.%d.%d.", 100+os.Getpid()%100, number)
	w := &world{TB: t, podIP: network + "1", appIP: network + "2", bundleDir: t.TempDir(), stateDir: t.TempDir(), log: &logBuffer{}}
	w.key = newKey(t, "ES256")
	transport := &http.Transport{DisableCompression: true}
	w.client = &http.Client{Transport: transport, Timeout: patience}
	t.Cleanup(transport.CloseIdleConnections)
	t.Cleanup(w.checkLog)
	return w
}

func newKey(t testing.TB, algorithm string) *signing.Key {
	t.Helper()
	key, err := signing.Generate(algorithm, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newProtectedApp is the usual pod: the echo app behind a sidecar with the usual bundle.
func newProtectedApp(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	w.mount(w.bundle())
	w.start()
	return w
}

// bundle is the usual one. Its keys are those given, or else the world's.
func (w *world) bundle(keys ...*signing.Key) *bundle.Bundle {
	w.Helper()
	if len(keys) == 0 {
		keys = []*signing.Key{w.key}
	}
	var public []*keyset.Key
	for _, key := range keys {
		public = append(public, key.Public(time.Time{}))
	}
	return &bundle.Bundle{
		Policy: policy.Document{
			Rules: []policy.Rule{
				{Paths: []policy.Path{{Prefix: "/public"}}, Access: policy.AccessAnonymous},
				{Paths: []policy.Path{{Prefix: "/admin"}}, Claims: []policy.Requirement{{Claim: "roles", AnyOf: []string{"admin"}}}},
				{Paths: []policy.Path{{Prefix: "/closed"}}, Access: policy.AccessDeny},
			},
			Default: policy.AccessAuthenticated,
			Headers: []policy.Header{{Name: "X-Auth-Subject", Claim: "sub"}, {Name: "X-Auth-Roles", Claim: "roles"}},
		},
		Issuers: []bundle.Issuer{{
			URL: issuerURL, Audiences: []string{audience}, TokenType: "at+jwt", Keys: jwks(w, public...),
			ClockSkew: 0,
		}},
		AccessLog: bundle.AccessLogAll, // so that every test looks for secrets in it
	}
}

func jwks(t testing.TB, keys ...*keyset.Key) bundle.KeySet {
	t.Helper()
	set, err := keyset.NewSet(keys...)
	if err != nil {
		t.Fatal(err)
	}
	data, err := set.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// mount publishes a bundle in the volume, and returns the hash that names this version.
func (w *world) mount(b *bundle.Bundle) string {
	w.Helper()
	data, err := b.Marshal()
	if err != nil {
		w.Fatal(err)
	}
	return w.mountFiles(map[string][]byte{bundle.FileName: data})
}

// mountFiles swaps the volume's contents as a kubelet does: a new directory, then one rename of the ..data link.
func (w *world) mountFiles(files map[string][]byte) string {
	w.Helper()
	w.versions++
	version := fmt.Sprintf("..version_%d", w.versions)
	check(w, os.Mkdir(filepath.Join(w.bundleDir, version), 0o755))
	for name, data := range files {
		check(w, os.WriteFile(filepath.Join(w.bundleDir, version, name), data, 0o644))
		if _, err := os.Lstat(filepath.Join(w.bundleDir, name)); err != nil {
			check(w, os.Symlink(filepath.Join("..data", name), filepath.Join(w.bundleDir, name)))
		}
	}
	check(w, os.Symlink(version, filepath.Join(w.bundleDir, "..data_tmp")))
	check(w, os.Rename(filepath.Join(w.bundleDir, "..data_tmp"), filepath.Join(w.bundleDir, "..data")))
	if w.versions > 1 {
		check(w, os.RemoveAll(filepath.Join(w.bundleDir, fmt.Sprintf("..version_%d", w.versions-1))))
	}
	return filetree.Hash(files)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs the sidecar until the test ends, or until stop is called, and returns when it listens.
func (w *world) start(flags ...string) {
	w.Helper()
	args := append([]string{
		"--bundle=" + w.bundleDir, "--state=" + w.stateDir, "--pod-ips=" + w.podIP, "--port=" + port, "--app-host=" + w.appIP, "--log-level=debug",
	}, flags...)
	config, err := sidecar.ParseFlags(args, io.Discard)
	check(w, err)
	ctx, cancel := context.WithCancel(context.Background())
	sockets, err := sidecar.Listen(ctx, config)
	check(w, err)
	ended := make(chan error, 1)
	go func() {
		ended <- sidecar.Run(ctx, config, sockets, slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: config.LogLevel})))
	}()
	w.stop = sync.OnceValue(func() error {
		w.client.CloseIdleConnections() // a drain gives them a second
		cancel()
		return <-ended
	})
	w.Cleanup(func() {
		if err := w.stop(); err != nil {
			w.Errorf("sidecar: %v", err)
		}
	})
	w.eventually("the sidecar listens", func() bool {
		response, err := w.client.Get("http://" + w.podIP + ":15020/healthz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// serveApp runs an app until the test ends. The function that it returns ends it earlier.
func (w *world) serveApp(handler http.Handler) (stop func()) {
	w.Helper()
	listener, err := net.Listen("tcp", w.appIP+":"+port)
	check(w, err)
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	stop = func() {
		_ = server.Close()
		<-ended
	}
	w.Cleanup(stop)
	return stop
}

// seen is what the echo app saw of a request.
type seen struct {
	Method, URI, Host, Body string
	Header                  http.Header
	Trailer                 http.Header
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_ = json.NewEncoder(w).Encode(seen{
		Method: r.Method, URI: r.RequestURI, Host: r.Host, Body: string(body), Header: r.Header, Trailer: r.Trailer,
	})
}

// token is a good access token for sub, with these changes to its claims; a nil value takes a claim away.
func (w *world) token(sub string, changes map[string]any) string {
	w.Helper()
	return w.tokenBy(w.key, sub, changes)
}

func (w *world) tokenBy(key *signing.Key, sub string, changes map[string]any) string {
	w.Helper()
	now := time.Now()
	claims := map[string]any{
		"iss": issuerURL, "aud": audience, "sub": sub, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"jti": strconv.FormatInt(now.UnixNano(), 36), "sid": "session-of-" + sub,
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	data, err := json.Marshal(claims)
	check(w, err)
	token, err := key.Sign("at+jwt", data)
	check(w, err)
	w.secrets = append(w.secrets, token)
	return token
}

// answer is a whole response.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// reason is the reason of a problem document, "" when the answer is none.
func (a answer) reason() string {
	var document struct{ Reason string }
	_ = json.Unmarshal([]byte(a.Body), &document)
	return document.Reason
}

// seen is what the echo app says in the answer.
func (a answer) seen(t testing.TB) seen {
	t.Helper()
	var s seen
	if a.Status != http.StatusOK {
		t.Fatalf("got status %d (%s), want 200 from the app", a.Status, a.Body)
	}
	check(t, json.Unmarshal([]byte(a.Body), &s))
	return s
}

// do sends a request to the pod. A token of "" sends none.
func (w *world) do(method, path, token string, headers ...string) answer {
	w.Helper()
	return w.send(method, "http://"+w.podIP+":"+port+path, token, "", headers...)
}

// get asks the admin port.
func (w *world) admin(path string) answer {
	w.Helper()
	return w.send(http.MethodGet, "http://"+w.podIP+":15020"+path, "", "")
}

// send takes headers as "Name: value".
func (w *world) send(method, url, token, body string, headers ...string) answer {
	w.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	check(w, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header[name] = append(request.Header[name], value) // as it is spelt
	}
	response, err := w.client.Do(request)
	check(w, err)
	return readAnswer(w, response)
}

func readAnswer(t testing.TB, response *http.Response) answer {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(t, err)
	return answer{response.StatusCode, response.Header, string(body)}
}

// raw writes bytes to the pod as they are, and returns every answer to them. A last request, refused before it can reach the app, has the
// connection closed: what comes before is all there was.
func (w *world) raw(lines ...string) []answer {
	w.Helper()
	connection := w.dial()
	_, err := io.WriteString(connection, strings.Join(lines, "\r\n")+"GET /closed HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
	check(w, err)
	reader := bufio.NewReader(connection)
	var answers []answer
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			if count := len(answers); count > 0 && answers[count-1].reason() == "denied" {
				answers = answers[:count-1]
			}
			return answers
		}
		answers = append(answers, readAnswer(w, response))
	}
}

func (w *world) dial() net.Conn {
	w.Helper()
	connection, err := net.Dial("tcp", w.podIP+":"+port)
	check(w, err)
	check(w, connection.SetDeadline(time.Now().Add(patience)))
	w.Cleanup(func() { connection.Close() })
	return connection
}

// eventually waits for what happens elsewhere, by asking again and again.
func (w *world) eventually(what string, happened func() bool) time.Duration {
	w.Helper()
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		if time.Since(began) > patience {
			w.Fatalf("waited %v in vain until %s\nlog:\n%s", patience, what, w.log)
		}
		<-tick.C
	}
	return time.Since(began)
}

// applied is what the admin port says is in force.
type applied struct {
	Volumes map[string]struct{ Applied, Rejected, Error string }
	KeyIDs  []string
	// Revocations by issuer.
	Revocations map[string]int64
}

func (w *world) applied() applied {
	w.Helper()
	var a applied
	check(w, json.Unmarshal([]byte(w.admin("/applied").Body), &a))
	return a
}

// waitApplied waits until this version of the bundle is in force.
func (w *world) waitApplied(hash string) {
	w.Helper()
	w.eventually("the bundle is in force", func() bool { return w.applied().Volumes["latchkey-bundle"].Applied == hash })
}

// checkLog looks for secrets in all that the sidecar logged.
func (w *world) checkLog() {
	for _, secret := range w.secrets {
		if strings.Contains(w.log.String(), secret) {
			w.Errorf("the log holds the secret %.20s...", secret)
		}
	}
}

// logBuffer is written to by the sidecar while the test reads.
type logBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}
