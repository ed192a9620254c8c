package sidebyside

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/postgres"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/redis"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/sqlite"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest/bare"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/password"
	"github.com/latchkey-dev/latchkey/internal/pki"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/test/debian"
	"github.com/latchkey-dev/latchkey/test/servers"
)

// clientCounts are how many refresh at once.
var clientCounts = []int{1, 8, 32}

const (
	tokenServiceUsers = 64
	floodClients      = 400
	tokenServiceHost  = "127.90.0.9"
	tokenServiceAt    = tokenServiceHost + ":8443"
	tokenServiceAdmin = tokenServiceHost + ":8081"
	tokenServiceOwner = "default/shop"
	sharedPassword    = "correct horse battery staple"
)

// BenchmarkTokenService prints what refreshes and sign-ins cost on each store, beside the bare conditional update, and writes it as JSON to the file that
// RESULTS names. The token service has a core of its own; clients and store share the other. SECONDS and ROUNDS are as for BenchmarkSideBySide, SESSIONS is how
// many a store holds before.
func BenchmarkTokenService(b *testing.B) {
	if runtime.NumCPU() < 2 {
		b.Fatal("this takes two cores: one for the token service, one for its clients and its store")
	}
	seconds, rounds := number(b, "SECONDS", 5), number(b, "ROUNDS", 3)
	r := &rig{TB: b, dir: b.TempDir(), taskset: debian.Program(b, "taskset", "util-linux"), seconds: seconds}
	program := r.build("issuer")
	r.keepToTheOtherCore()
	runtime.GOMAXPROCS(1)
	var results []tokenServiceResult
	for _, kind := range []string{"SQLite", "PostgreSQL", "Redis"} {
		b.Run(kind, func(b *testing.B) {
			each := *r
			each.TB, each.dir = b, b.TempDir()
			results = append(results, each.tokenService(kind, program, rounds))
		})
	}
	reportTokenService(b, results)
}

// tokenServiceResult is what was measured of one store.
type tokenServiceResult struct {
	Store     string
	IdleBytes int64
	Refreshes []refreshResult
	SignIns   signInResult
	Flood     signInResult
}

// refreshResult is what was measured with so many clients. What is of several rounds is the median.
type refreshResult struct {
	Clients      int
	Bare         float64 // conditional updates a second, by the driver alone
	Rate         float64 // refreshes a second
	Microseconds float64 // of the token service's processor, for one
	InStore      float64 // of the store's, unless it is within the token service
	P50, P99     time.Duration
	LoadedBytes  int64
}

// signInResult is what became of sign-ins by password.
type signInResult struct {
	Clients   int
	Rate      float64 // that succeeded, a second
	TurnedOff float64 // that were answered 429, a second
	P50, P99  time.Duration
	PeakBytes int64 // resident
}

func (r *rig) tokenService(kind, program string, rounds int) tokenServiceResult {
	r.Helper()
	s := r.startTokenService(kind, program)
	result := tokenServiceResult{Store: kind, IdleBytes: r.resident(s.process)}
	for _, clients := range clientCounts {
		var bares, rates, costs, inStore []float64
		var took []time.Duration
		s.refreshes(s.signedIn(clients), time.Second) // connections, caches and heaps come to what they will be
		for range rounds {
			bares = append(bares, s.bareUpdates(clients))
			all := s.signedIn(clients)
			own, store, began := r.cpu(s.process), r.cpu(s.store), time.Now()
			each := s.refreshes(all, time.Duration(r.seconds)*time.Second)
			rates = append(rates, float64(len(each))/time.Since(began).Seconds())
			costs = append(costs, float64((r.cpu(s.process)-own).Microseconds())/float64(len(each)))
			inStore = append(inStore, float64((r.cpu(s.store)-store).Microseconds())/float64(len(each)))
			took = append(took, each...)
			fmt.Printf("%s, %2d clients: %6.0f refreshes/s, %6.1f us each; %6.1f us in the store; %6.0f bare updates/s\n", kind, clients, rates[len(rates)-1], costs[len(costs)-1],
				inStore[len(inStore)-1], bares[len(bares)-1])
		}
		slices.Sort(took)
		result.Refreshes = append(result.Refreshes, refreshResult{Clients: clients, Bare: median(bares), Rate: median(rates), Microseconds: median(costs), InStore: median(inStore),
			P50: took[len(took)/2], P99: took[len(took)*99/100], LoadedBytes: r.resident(s.process)})
	}
	result.SignIns = s.signIns(4)
	result.Flood = s.signIns(floodClients)
	return result
}

// tokenService is one that runs, and its store.
type tokenService struct {
	*rig
	process proxy
	store   proxy // without a process where that is the token service's
	roots   *x509.CertPool
	sidecar sidecartoken.Token
	update  bare.Update
	ids     []bareSession // to update
}

// bareSession is a session that only bare updates change.
type bareSession struct {
	id      store.SessionID
	counter int64
}

func (r *rig) startTokenService(kind, program string) *tokenService {
	r.Helper()
	s := &tokenService{rig: r, sidecar: sidecartoken.New(), roots: x509.NewCertPool()}
	c := config.Config{
		Issuer: issuerURL, Audiences: []string{audience}, AccessTokenTTL: 5 * time.Minute, IdleLifetime: 24 * time.Hour, AbsoluteLifetime: 72 * time.Hour,
		Delivery: config.DeliverByCookie, MaxSessionsPerUser: 100, OnLimit: config.EndOldest, IPBinding: config.IPBindingLog, Login: config.Login{Users: true},
	} // without a reuse window each refresh replaces its token, however soon it comes
	document, err := c.Marshal()
	check(r, err)
	r.write("config/"+config.File, string(document))
	hash, err := password.New([]byte(sharedPassword), password.Default)
	check(r, err)
	var list strings.Builder
	list.WriteString("users:\n")
	for i := range tokenServiceUsers {
		fmt.Fprintf(&list, "- name: user%d\n  passwordHash: %s\n  claims: {email: user%d@shop.example, roles: [editor, reader]}\n", i, hash.Encode(), i)
	}
	r.write("users/"+users.File, list.String())
	r.write("sidecars/"+sidecartoken.File, s.sidecar.Encode())
	for name, data := range r.ring() {
		r.write("ring/"+name, string(data))
	}
	ca, err := pki.NewCA(time.Now())
	check(r, err)
	s.roots.AppendCertsFromPEM(ca.CertPEM())
	certificate, err := ca.Issue([]string{"auth.example"}, nil, time.Now())
	check(r, err)
	r.write("tls/tls.crt", string(certificate.CertPEM()))
	r.write("tls/tls.key", string(certificate.KeyPEM()))
	arguments := []string{"--owner=" + tokenServiceOwner, "--listen=" + tokenServiceAt, "--admin-address=" + tokenServiceAdmin}
	for _, volume := range []string{"config", "users", "sidecars", "ring", "tls"} {
		arguments = append(arguments, "--"+volume+"="+filepath.Join(r.dir, volume))
	}
	arguments = append(arguments, s.startStore(kind))
	s.process = proxy{pid: r.start(proxyCore, tokenServiceAt, nil, program, arguments...)}
	for late := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		response, err := http.Get("http://" + tokenServiceAdmin + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return s
			}
		}
		if time.Now().After(late) {
			r.Fatal("the token service does not become ready")
		}
	}
}

// ring has one key, of the default algorithm.
func (r *rig) ring() map[string][]byte {
	r.Helper()
	var ring *signing.Ring
	now := time.Now()
	plan := rotation.Decide(now, rotation.Schedule{Algorithm: "ES256", RotateEvery: 24 * time.Hour, PublishLead: time.Hour, Retain: time.Hour}, ring.Rotation())
	ring, err := ring.Execute(plan, now, signing.Generate)
	check(r, err)
	data, err := ring.SecretData(now, time.Hour)
	check(r, err)
	return data
}

// startStore starts a store, fills it, and returns what the token service is told of it.
func (s *tokenService) startStore(kind string) (argument string) {
	s.Helper()
	var filled store.Store
	switch kind {
	case "SQLite":
		dir := filepath.Join(s.dir, "data")
		check(s, os.Mkdir(dir, 0o700))
		path := filepath.Join(dir, "sessions.db")
		database, err := sqlite.Open(s.Context(), path)
		check(s, err)
		filled, argument = database, "--data="+dir
		s.update = bare.SQLite(s, path)
	case "PostgreSQL":
		server := servers.StartPostgreSQL(s)
		url := server.Database(s)
		s.store, s.update = proxy{pid: server.PID()}, bare.PostgreSQL(s, url)
		filled, argument = s.remote(postgres.New(postgres.Options{Owner: tokenServiceOwner, Patience: time.Minute}), url), "--postgresql="+filepath.Join(s.dir, "store")
	case "Redis":
		server := servers.StartRedis(s)
		url := server.Database()
		s.store, s.update = proxy{pid: server.PID()}, bare.Redis(s, url)
		filled, argument = s.remote(redis.New(redis.Options{Owner: tokenServiceOwner, Patience: time.Minute}), url), "--redis="+filepath.Join(s.dir, "store")
	}
	storetest.Fill(s, filled, number(s, "SESSIONS", 10_000))
	for i := range slices.Max(clientCounts) {
		n := store.Session{ID: store.NewSessionID(), User: fmt.Sprintf("bare %d", i), Secret: store.NewSecret(), Counter: 1, CreatedAt: time.Now(), RotatedAt: time.Now(),
			AccessUntil: time.Now()}
		_, err := filled.Create(s.Context(), n, store.Limit{Sessions: 5}, store.Horizon{})
		check(s, err)
		s.ids = append(s.ids, bareSession{n.ID, 1})
	}
	check(s, filled.Close())
	return argument
}

// remote tells a store, and the file from which the token service will learn it, where its server is.
func (s *tokenService) remote(database interface {
	store.Store
	Use(url string, ca []byte) error
}, url string) store.Store {
	s.Helper()
	check(s, database.Use(url, nil))
	s.write("store/"+config.StoreURLFile, url)
	return database
}

// bareUpdates is how many conditional updates a second the store does for so many clients.
func (s *tokenService) bareUpdates(clients int) float64 {
	s.Helper()
	began := time.Now()
	took := inParallel(clients, time.Duration(s.seconds)*time.Second, func(i int) error {
		err := s.update(s.ids[i].id, s.ids[i].counter)
		s.ids[i].counter++
		return err
	}, s.TB)
	return float64(len(took)) / time.Since(began).Seconds()
}

// signedIn are so many clients, each with a session of its own over a connection of its own.
func (s *tokenService) signedIn(clients int) []*client {
	s.Helper()
	all := make([]*client, clients)
	for i := range all {
		all[i] = s.connect()
		check(s, all[i].signIn(i))
	}
	return all
}

// refreshes lets clients refresh for a while and go, and returns how long each refresh took.
func (s *tokenService) refreshes(all []*client, last time.Duration) []time.Duration {
	s.Helper()
	defer func() {
		for _, each := range all {
			_ = each.connection.Close()
		}
	}()
	return inParallel(len(all), last, func(i int) error { return all[i].refresh() }, s.TB)
}

// inParallel lets each client do something again and again for a while, and returns how long each time took.
func inParallel(clients int, last time.Duration, do func(client int) error, t testing.TB) (took []time.Duration) {
	t.Helper()
	all := make([][]time.Duration, clients)
	faults := make([]error, clients)
	end := time.Now().Add(last)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for now := time.Now(); now.Before(end) && faults[i] == nil; {
				faults[i] = do(i)
				done := time.Now()
				all[i] = append(all[i], done.Sub(now))
				now = done
			}
		})
	}
	wg.Wait()
	for i := range all {
		check(t, faults[i])
		took = append(took, all[i]...)
	}
	return took
}

// signIns lets so many clients sign in by password, over and over.
func (s *tokenService) signIns(clients int) signInResult {
	s.Helper()
	all := make([]*client, clients)
	for i := range all {
		all[i] = s.connect()
		defer func() { _ = all[i].connection.Close() }()
	}
	var mu sync.Mutex
	var took []time.Duration
	turnedOff := 0
	began := time.Now()
	inParallel(clients, time.Duration(s.seconds)*time.Second, func(i int) error {
		sent := time.Now()
		err := all[i].signIn(i)
		mu.Lock()
		defer mu.Unlock()
		if err == errTurnedOff { //nolint:errorlint // returned as it is
			turnedOff++
			return nil
		}
		took = append(took, time.Since(sent))
		return err
	}, s.TB)
	elapsed := time.Since(began).Seconds()
	slices.Sort(took)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.pid))
	check(s, err)
	return signInResult{Clients: clients, Rate: float64(len(took)) / elapsed, TurnedOff: float64(turnedOff) / elapsed, P50: took[len(took)/2], P99: took[len(took)*99/100],
		PeakBytes: s.kilobytes(string(status), "VmHWM:") << 10}
}

// client is one, as a sidecar shows it: HTTP/1.1 over TLS, on a connection that stays.
type client struct {
	service    *tokenService
	connection *tls.Conn
	in         *bufio.Reader
	out        []byte
	token      string
}

func (s *tokenService) connect() *client {
	s.Helper()
	connection, err := net.Dial("tcp", tokenServiceAt)
	check(s, err)
	secure := tls.Client(connection, &tls.Config{RootCAs: s.roots, ServerName: "auth.example"})
	check(s, secure.Handshake())
	return &client{service: s, connection: secure, in: bufio.NewReader(secure)}
}

// errTurnedOff is 429.
var errTurnedOff = fmt.Errorf("answered %d", http.StatusTooManyRequests)

func (c *client) signIn(user int) error {
	body, err := json.Marshal(map[string]string{"username": fmt.Sprintf("user%d", user%tokenServiceUsers), "password": sharedPassword})
	if err != nil {
		return err
	}
	// Each from a network of its own, or one would be taken for a machine that guesses.
	return c.ask("/login", fmt.Sprintf("198.18.%d.%d", user/250, user%250+1), "Content-Type: application/json\r\n", body)
}

func (c *client) refresh() error {
	return c.ask("/refresh", "192.0.2.7", "Cookie: "+issuer.CookieName+"="+c.token+"\r\n", nil)
}

// ask sends what a sidecar passes on of a browser's request, and keeps the refresh token that comes back.
func (c *client) ask(path, address, header string, body []byte) error {
	c.out = fmt.Appendf(c.out[:0], "POST %s HTTP/1.1\r\nHost: auth.example\r\nContent-Length: %d\r\nAccept: */*\r\nOrigin: https://shop.example\r\nSec-Fetch-Site: same-origin\r\n"+
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nX-Forwarded-For: %s\r\nX-Forwarded-Prefix: /auth\r\nLatchkey-Sidecar: %s\r\n%s\r\n%s",
		path, len(body), address, c.service.sidecar.Encode(), header, body)
	if _, err := c.connection.Write(c.out); err != nil {
		return err
	}
	status, length, cookie := "", 0, false
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case status == "":
			status = string(line[9:12])
		case len(line) == 2:
			_, err = io.CopyN(io.Discard, c.in, int64(length))
			switch {
			case err != nil:
				return err
			case status == "429":
				return errTurnedOff
			case status != "200" || !cookie:
				return fmt.Errorf("%s: answered %s", path, status)
			}
			return nil
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			if length, err = strconv.Atoi(string(line[16 : len(line)-2])); err != nil {
				return err
			}
		case bytes.HasPrefix(line, []byte("Set-Cookie: "+issuer.CookieName+"=")):
			value, _, _ := bytes.Cut(line[len("Set-Cookie: "+issuer.CookieName+"="):], []byte(";"))
			c.token, cookie = string(value), true
		}
	}
}

// reportTokenService prints the tables, and writes everything to the file that RESULTS names.
func reportTokenService(t testing.TB, results []tokenServiceResult) {
	t.Helper()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "store\tclients\tbare updates/s\trefreshes/s\tus CPU each\tin the store\tone core does\tp50\tp99\tMB idle\tMB loaded\t")
	for _, each := range results {
		for _, one := range each.Refreshes {
			fmt.Fprintf(table, "%s\t%d\t%.0f\t%.0f\t%.1f\t%.1f\t%.0f\t%s\t%s\t%.1f\t%.1f\t\n", each.Store, one.Clients, one.Bare, one.Rate, one.Microseconds, one.InStore, 1e6/one.Microseconds,
				one.P50.Round(10*time.Microsecond), one.P99.Round(10*time.Microsecond), float64(each.IdleBytes)/1e6, float64(one.LoadedBytes)/1e6)
		}
	}
	fmt.Fprintln(table, "\t\t\t\t\t\t\t\t\t\t\t")
	fmt.Fprintln(table, "store\tclients\t\tsign-ins/s\t429/s\t\t\tp50\tp99\t\tMB at most\t")
	for _, each := range results {
		for _, one := range []signInResult{each.SignIns, each.Flood} {
			fmt.Fprintf(table, "%s\t%d\t\t%.0f\t%.0f\t\t\t%s\t%s\t\t%.1f\t\n", each.Store, one.Clients, one.Rate, one.TurnedOff,
				one.P50.Round(time.Millisecond), one.P99.Round(time.Millisecond), float64(one.PeakBytes)/1e6)
		}
	}
	check(t, table.Flush())
	writeResults(t, map[string]any{"stores": results})
}

// build builds one of our programs as it is shipped.
func (r *rig) build(name string) (path string) {
	r.Helper()
	path = filepath.Join(r.dir, "latchkey-"+name)
	cmd := exec.CommandContext(r.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/latchkey-dev/latchkey/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		r.Fatalf("%v: %s", err, output)
	}
	return path
}
