package issuer_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/refreshtoken"
)

// asProcess is set in the environment of a test binary that is to be a token service; its arguments are a token service's.
const asProcess = "LATCHKEY_TEST_ISSUER"

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) != "" {
		serveAsProcess()
		return
	}
	flag.Parse()
	goleak.VerifyTestMain(m)
}

func serveAsProcess() {
	options, err := issuer.ParseFlags(os.Args[1:], os.Stdout)
	if err == nil {
		err = issuer.Run(context.Background(), options, slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// process runs the token service of a world as a process of its own, and returns how to kill it with no warning.
func (w *world) process() (kill func()) {
	w.t.Helper()
	kill = w.startProcess()
	w.awaitReady()
	return kill
}

// startProcess does not wait for it to be ready.
func (w *world) startProcess() (kill func()) {
	o := w.options()
	command := exec.Command(os.Args[0], "--config="+o.Config, "--ring="+o.Ring, "--sidecars="+o.Sidecars, "--users="+o.Users, "--tls="+o.TLS,
		"--data="+o.Data, "--postgresql="+o.PostgreSQL, "--redis="+o.Redis, "--owner="+o.Owner, "--listen="+w.address, "--admin-address="+w.admin)
	command.Env = append(os.Environ(), asProcess+"=1", "GOMAXPROCS=1")
	command.Stderr = w.log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		w.t.Error(err)
		return func() {}
	}
	kill = sync.OnceFunc(func() { // a second call waits for the first
		_ = command.Process.Kill()
		_ = command.Wait() // "signal: killed"
		w.client.CloseIdleConnections()
	})
	w.t.Cleanup(kill)
	return kill
}

// Clients that have just signed in refresh at once while their token service dies, at a random moment. Whatever was written by then, the tokens that they hold
// still work, and each has one successor. There are several, because a store may write at once what they ask for.
func TestAKilledProcessCostsNobodyTheirSession(t *testing.T) {
	onEveryStore(t, killedProcess)
}

func killedProcess(t *testing.T, w *world) {
	const kills, sessions = 6, 5 // of each user: as many as they may have
	kill := w.process()
	var answered atomic.Int64
	lost := 0
	for range kills {
		var tokens []string
		for range sessions {
			tokens = append(tokens, w.login("alice").refresh(), w.login("bob").refresh())
		}
		time.AfterFunc(time.Duration(rand.N(30_000))*time.Microsecond, kill)
		var wg sync.WaitGroup
		for i := range tokens {
			wg.Go(func() {
				for {
					a, err := w.try(w.post("/refresh", tokens[i], ""))
					if err != nil {
						return // the answer is lost; whether the successor was made, nobody knows
					}
					if a.status != http.StatusOK {
						t.Errorf("refresh: got %d %s", a.status, a.body)
						return
					}
					answered.Add(1)
					tokens[i] = a.refresh()
				}
			})
		}
		wg.Wait()
		kill()
		kill = w.process()

		for _, token := range tokens {
			claimed, err := refreshtoken.Parse(token)
			if err != nil {
				t.Fatal(err)
			}
			repeated := w.repeats()
			one, two := w.mustRefresh(token), w.mustRefresh(token)
			if one.refresh() != two.refresh() {
				t.Fatal("the token has two successors")
			}
			if claimed.Counter() == 1 && w.repeats() == repeated+2 {
				lost++ // both were repeats: the successor had been written, and only the answer was lost
			}
			w.mustRefresh(one.refresh())
		}
	}
	t.Logf("%d answers; %d of %d times the kill came between the write and the answer", answered.Load(), lost, kills*2*sessions)
	if answered.Load()+int64(lost) == 0 {
		t.Error("nothing was tried")
	}
	w.checkLog()
}

// repeats is how many refreshes handed out a successor again.
func (w *world) repeats() float64 {
	w.t.Helper()
	const name = `latchkey_issuer_refreshes_total{verdict="repeat"}`
	if !strings.Contains(w.metric(), name) {
		return 0
	}
	return w.metricValue(name)
}

// A session that is being ended when the process dies is either ended and on the stream, or as good as before.
func TestAKilledProcessEndsSessionsWholeOrNotAtAll(t *testing.T) {
	onEveryStore(t, killedLogout)
}

func killedLogout(t *testing.T, w *world) {
	kill := w.process()
	ended, alive := 0, 0
	for range 10 {
		a := w.login("alice")
		sid := w.sid(a)
		time.AfterFunc(time.Duration(rand.N(1_500))*time.Microsecond, kill)
		_, err := w.try(w.post("/logout", a.refresh(), ""))
		answered := err == nil
		kill()
		kill = w.process()

		follower := w.follow("", 0)
		follower.ready()
		switch got := w.refresh(a.refresh()); {
		case got.status == http.StatusOK && !follower.has(sid) && !answered:
			alive++
		case got.status == http.StatusUnauthorized && follower.has(sid):
			ended++
		default:
			t.Fatalf("refresh: got %d %s; revoked: %v; logout answered: %v", got.status, got.reason, follower.has(sid), answered)
		}
		follower.stop()
	}
	t.Logf("%d ended, %d as before", ended, alive)
}

func TestRunRefusesADatabaseThatIsNone(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "data", "sessions.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	err := issuer.Run(t.Context(), w.options(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names %s", err, path)
	}
	if data, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(data), "no database") {
		t.Errorf("the file was changed (%v)", err)
	}
}

func TestRunRefusesAnAddressThatIsTaken(t *testing.T) {
	w := start(t)
	other := w.options()
	other.Data = t.TempDir()
	err := issuer.Run(t.Context(), other, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "--listen: ") || !strings.Contains(err.Error(), w.address) {
		t.Errorf("got %v, want an error that names --listen and %s", err, w.address)
	}
}

func (w *world) metric() string {
	w.t.Helper()
	_, text, err := w.tryAdmin("/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}
