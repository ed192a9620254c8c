package issuer_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
	"github.com/latchkey-dev/latchkey/test/servers"
)

// onEveryStore runs a test on each kind of store, in a world where nothing runs yet.
func onEveryStore(t *testing.T, test func(*testing.T, *world)) {
	t.Run("SQLite", func(t *testing.T) { test(t, newWorld(t)) })
	onSharedStores(t, func(t *testing.T, replica func() *world, _ storetest.Server) { test(t, replica()) })
}

// onSharedStores runs a test on each kind of store that replicas can share. Each call of replica makes one more.
func onSharedStores(t *testing.T, test func(t *testing.T, replica func() *world, server storetest.Server)) {
	t.Run("PostgreSQL", func(t *testing.T) {
		server := servers.StartPostgreSQL(t)
		test(t, replicas(t, "postgresql", server.Database(t)), server)
	})
	t.Run("Redis", func(t *testing.T) {
		server := servers.StartRedis(t)
		test(t, replicas(t, "redis", server.Database()), server)
	})
}

func replicas(t testing.TB, kind, url string) func() *world {
	var first *world
	return func() *world {
		w := newWorld(t)
		w.store = kind
		w.write("store", config.StoreURLFile, []byte(url+"\n"))
		if first == nil {
			first = w
			return w
		}
		for _, file := range []string{"jwks.json", "ring.json"} { // all sign with one ring
			data, err := os.ReadFile(filepath.Join(first.dir, "ring", file))
			if err != nil {
				t.Fatal(err)
			}
			w.write("ring", file, data)
		}
		return w
	}
}

// How long ago a refresh token was replaced, one clock decides: by their own, each of these would take the other's parallel refresh for a theft.
func TestReplicasWhoseClocksDifferActAsOne(t *testing.T) {
	onSharedStores(t, func(t *testing.T, replica func() *world, _ storetest.Server) {
		fast, slow := replica(), replica()
		fast.skew, slow.skew = 40*time.Second, -40*time.Second
		fast.run()
		slow.run()
		token := fast.login("alice").refresh()
		for range 5 {
			answers := make([]answer, 40)
			var wg sync.WaitGroup
			for i := range answers {
				wg.Go(func() {
					w := []*world{fast, slow}[i%2]
					var err error
					if answers[i], err = w.try(w.post("/refresh", token, "")); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			for _, a := range answers {
				if a.status != http.StatusOK || a.refresh() != answers[0].refresh() {
					t.Fatalf("got %d %s, want 200 and the same successor", a.status, a.body)
				}
			}
			token = answers[0].refresh()
		}

		// Who signs out at one is signed out at the other, and everywhere else.
		a := fast.mustRefresh(token)
		follower := slow.follow("", 0)
		follower.ready()
		began := time.Now()
		if got := fast.do(fast.post("/logout", a.refresh(), "")); got.status != http.StatusNoContent {
			t.Fatalf("logout: got %d %s", got.status, got.body)
		}
		follower.revoked(fast.sid(a))
		t.Logf("from the logout at one replica to a follower of the other: %v", time.Since(began))
		refused(t, slow.refresh(a.refresh()), http.StatusUnauthorized, issuer.ReasonNoSession, false)
	})
}

func TestAReplicaWhoseClockIsWrongIsNotReady(t *testing.T) {
	onSharedStores(t, func(_ *testing.T, replica func() *world, _ storetest.Server) {
		w := replica()
		w.skew = 5 * time.Minute
		w.runUnready()
		w.eventually("a word about the clock", func() bool {
			status, text, err := w.tryAdmin("/readyz")
			return err == nil && status == http.StatusServiceUnavailable && strings.Contains(text, "clock and the store's differ by -5m0s")
		})
	})
}

func TestAStoreThatIsAwayIsSaidToBeAndForgetsNobody(t *testing.T) {
	onSharedStores(t, func(t *testing.T, replica func() *world, server storetest.Server) {
		w := replica()
		w.run()
		for _, outage := range []struct {
			name       string
			begin, end func()
		}{{"frozen", server.Freeze, server.Thaw}, {"killed", server.Kill, server.Start}} {
			a := w.login("alice")
			ended := w.login("bob")
			outage.begin()
			for _, path := range []string{"/refresh", "/logout"} {
				got := w.do(w.post(path, a.refresh(), ""))
				refused(t, got, http.StatusServiceUnavailable, issuer.ReasonUnavailable, false)
				if got.header.Get("Retry-After") == "" {
					t.Errorf("%s while the store is %s: no Retry-After", path, outage.name)
				}
			}
			w.eventually("not ready", func() bool {
				status, text, err := w.tryAdmin("/readyz")
				return err == nil && status == http.StatusServiceUnavailable && !strings.Contains(text, "127.0.0.1")
			})
			outage.end()
			w.awaitReady()
			next := w.mustRefresh(a.refresh())
			w.mustRefresh(next.refresh())
			if got := w.do(w.post("/logout", ended.refresh(), "")); got.status != http.StatusNoContent {
				t.Errorf("logout after the store was %s: got %d %s", outage.name, got.status, got.body)
			}
		}
	})
}

// The answer was lost with the store, and the window is over before anybody could ask again.
func TestALostAnswerCanBeAskedForAfterAnOutage(t *testing.T) {
	onSharedStores(t, func(t *testing.T, replica func() *world, server storetest.Server) {
		w := replica()
		brief := defaults
		brief.ReuseWindow = 2 * time.Second
		w.writeConfig(brief)
		w.run()
		token := w.login("alice").refresh()
		lost := w.mustRefresh(token)
		server.Kill()
		w.eventually("the window is over", func() bool {
			w.refresh(token)
			return time.Since(w.signedAt(lost)) > 2*brief.ReuseWindow
		})
		server.Start()
		w.eventually("the store is back", func() bool {
			a := w.refresh(token)
			if a.status == http.StatusServiceUnavailable {
				return false
			}
			if a.status != http.StatusOK || a.refresh() != lost.refresh() {
				t.Fatalf("got %d %s, want the successor that was lost", a.status, a.body)
			}
			return true
		})
		w.mustRefresh(lost.refresh())
	})
}

func (w *world) signedAt(a answer) time.Time {
	w.t.Helper()
	_, claims := w.claims(a.access)
	return time.Unix(int64(claims["iat"].(float64)), 0)
}

func TestTheStoresURLIsReadAgain(t *testing.T) {
	onSharedStores(t, func(t *testing.T, replica func() *world, _ storetest.Server) {
		w := replica()
		good, err := os.ReadFile(filepath.Join(w.dir, "store", config.StoreURLFile))
		if err != nil {
			t.Fatal(err)
		}
		w.write("store", config.StoreURLFile, []byte("http://user:hunter2@nowhere"))
		w.runUnready()
		w.eventually("the URL is refused", func() bool {
			volumes, _ := w.applied()
			return strings.Contains(volumes["latchkey-store"].Error, "url: must be a URL like") && !strings.Contains(volumes["latchkey-store"].Error, "hunter2")
		})
		w.write("store", config.StoreURLFile, good)
		w.awaitReady()
		token := w.login("alice").refresh()
		// A URL that is faulty leaves the last good one in use.
		w.write("store", config.StoreURLFile, []byte("hunter2"))
		w.eventually("the URL is refused", func() bool {
			volumes, _ := w.applied()
			return volumes["latchkey-store"].Error != ""
		})
		w.mustRefresh(token)
		if strings.Contains(w.log.String(), "hunter2") {
			t.Error("the log holds a password")
		}
	})
}

// What the journal has told followers is then not what the database holds.
func TestATokenServiceStartsAnewWhenItsDatabaseWasSetBack(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T) (w *world, setBack func())
	}{
		{"PostgreSQL", func(t *testing.T) (*world, func()) {
			server := servers.StartPostgreSQL(t)
			url := server.Database(t)
			return replicas(t, "postgresql", url)(), func() { server.Do(t, url, "UPDATE latchkey_stream SET last = 0") }
		}},
		{"Redis", func(t *testing.T) (*world, func()) {
			url := servers.StartRedis(t).Database()
			options, err := goredis.ParseURL(url)
			if err != nil {
				t.Fatal(err)
			}
			client := goredis.NewClient(options)
			t.Cleanup(func() { client.Close() })
			return replicas(t, "redis", url)(), func() {
				if err := client.HSet(t.Context(), "{latchkey}:stream", "last", 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, setBack := tc.prepare(t)
			done := make(chan error, 1)
			go func() { done <- issuer.Run(t.Context(), w.options(), slog.New(slog.DiscardHandler)) }()
			w.awaitReady()
			setBack()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), "starting anew") {
					t.Errorf("got %v, want it to say that it starts anew", err)
				}
			case <-time.After(time.Minute):
				t.Error("it runs on with what it knew")
			}
			w.run() // as the kubelet would
		})
	}
}

// All replicas of a new release come to the database at once, and each would bring its schema up to date.
func TestProcessesThatStartAtOnceMakeOneDatabase(t *testing.T) {
	onSharedStores(t, func(_ *testing.T, replica func() *world, _ storetest.Server) {
		var all [4]*world
		for i := range all {
			all[i] = replica()
		}
		var starting sync.WaitGroup
		for _, w := range all {
			starting.Go(func() { w.startProcess() })
		}
		starting.Wait()
		for _, w := range all {
			w.awaitReady()
		}
		token := all[0].login("alice").refresh()
		for _, w := range all[1:] {
			token = w.mustRefresh(token).refresh()
		}
	})
}
