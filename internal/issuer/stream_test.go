package issuer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// follower follows the stream of revocations as a sidecar does.
type follower struct {
	w      *world
	set    *revocation.Set
	events *revocation.Reader
	seen   []revocation.Event
	stop   func()
}

func (w *world) follow(stream string, after int64) *follower {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	query := url.Values{"stream": {stream}, "after": {strconv.FormatInt(after, 10)}}
	r := w.asSidecar(w.get("/revocations?" + query.Encode())).WithContext(ctx)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}} // HTTP/1.1, as a sidecar's
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	if got, want := response.Header.Get("Content-Type"), "text/event-stream"; response.StatusCode != http.StatusOK || got != want {
		w.t.Fatalf("got %s %s, want 200 %s", response.Status, got, want)
	}
	f := &follower{w: w, set: revocation.NewSet(0), events: revocation.NewReader(response.Body)}
	f.stop = func() {
		cancel()
		response.Body.Close()
		transport.CloseIdleConnections()
	}
	w.t.Cleanup(f.stop)
	return f
}

// next takes in one event.
func (f *follower) next() revocation.Event {
	f.w.t.Helper()
	late := time.AfterFunc(20*time.Second, f.stop) // what never comes fails the test, rather than hanging it
	event, err := f.events.Next()
	if late.Stop(); err != nil {
		f.w.t.Fatal(err)
	}
	f.seen = append(f.seen, event)
	switch event.Kind {
	case revocation.EventReset:
		f.set.Reset(event.Stream)
	case revocation.EventRevoke:
		if err := f.set.Apply(event.Entry, f.w.clock.Now()); err != nil {
			f.w.t.Fatal(err)
		}
	case revocation.EventReady, revocation.EventHeartbeat: // change nothing
	}
	return event
}

// ready reads up to the end of the snapshot.
func (f *follower) ready() revocation.Event {
	f.w.t.Helper()
	for {
		if event := f.next(); event.Kind == revocation.EventReady {
			return event
		}
	}
}

// revoked reads until the session is revoked.
func (f *follower) revoked(sid string) {
	f.w.t.Helper()
	for !f.has(sid) {
		f.next()
	}
}

func (f *follower) has(sid string) bool {
	return f.set.Revoked(revocation.SessionHash(defaults.Issuer, sid), f.w.clock.Now().Add(time.Hour))
}

func (f *follower) count(kind revocation.EventKind) int {
	n := 0
	for _, event := range f.seen {
		if event.Kind == kind {
			n++
		}
	}
	return n
}

// revoke signs in and out.
func (w *world) revoke() (sid string) {
	w.t.Helper()
	a := w.login("alice")
	if got := w.do(w.post("/logout", a.refresh(), "")); got.status != http.StatusNoContent {
		w.t.Fatalf("logout: got %d", got.status)
	}
	return w.sid(a)
}

func TestANewFollowerGetsWhatIsInForce(t *testing.T) {
	w := start(t)
	one, two := w.revoke(), w.revoke()
	f := w.follow("", 0)
	f.revoked(two)
	if !f.has(one) {
		t.Error("the first revocation is missing")
	}
	ready := f.ready()
	if got, want := ready.Number, f.set.Position().Number; got != want {
		t.Errorf("ready: got number %d, want that of the last revocation, %d", got, want)
	}
	if f.seen[0].Kind != revocation.EventReset || f.seen[0].Stream != ready.Stream {
		t.Errorf("first event: got %+v, want a reset to stream %s", f.seen[0], ready.Stream)
	}
	three := w.revoke()
	f.revoked(three)
	if got, want := f.set.Position(), (revocation.Position{Stream: ready.Stream, Number: ready.Number + 1}); got != want {
		t.Errorf("position: got %+v, want %+v", got, want)
	}
}

func TestAFollowerResumesWhereItWas(t *testing.T) {
	w := newWorld(t)
	stop := w.run()
	w.revoke()
	f := w.follow("", 0)
	f.ready()
	at := f.set.Position()
	f.stop()
	missed := w.revoke()
	stop() // also over a restart of the token service
	w.run()

	g := w.follow(at.Stream, at.Number)
	g.revoked(missed)
	g.ready()
	if got, want := g.count(revocation.EventReset), 0; got != want {
		t.Errorf("resets: got %d, want %d", got, want)
	}
	if got, want := g.count(revocation.EventRevoke), 1; got != want {
		t.Errorf("revocations: got %d, want only the %d it missed", got, want)
	}
}

func TestAFollowerStartsOverWhenItKnowsAnotherDatabase(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   func(revocation.Position) revocation.Position
	}{
		{"by its name", func(p revocation.Position) revocation.Position {
			return revocation.Position{Stream: "another", Number: p.Number}
		}},
		{"by a number it has not reached", func(p revocation.Position) revocation.Position {
			return revocation.Position{Stream: p.Stream, Number: p.Number + 1}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t)
			sid := w.revoke()
			f := w.follow("", 0)
			f.ready()
			at := tc.at(f.set.Position())
			g := w.follow(at.Stream, at.Number)
			if got, want := g.next().Kind, revocation.EventReset; got != want {
				t.Errorf("first event: got %s, want %s", got, want)
			}
			g.revoked(sid)
		})
	}
}

func TestRevocationsLastUntilTheLastAccessTokenHasExpired(t *testing.T) {
	w := start(t)
	a := w.login("alice")
	w.clock.step(time.Minute)
	b := w.mustRefresh(a.refresh())
	w.clock.step(5 * time.Second)
	w.mustRefresh(a.refresh()) // lost the race, and its access token is the last
	last := w.clock.Now().Add(defaults.AccessTokenTTL)
	w.do(w.post("/logout", b.refresh(), ""))
	f := w.follow("", 0)
	f.revoked(w.sid(a))
	for _, event := range f.seen {
		if event.Kind == revocation.EventRevoke && !event.Entry.Until.Equal(last.Add(revocation.Leeway)) {
			t.Errorf("until: got %v, want %v", event.Entry.Until, last.Add(revocation.Leeway))
		}
	}
}

func TestTheStreamReadsNoBody(t *testing.T) {
	w := start(t)
	body, never := io.Pipe() // a form whose end never comes
	defer never.Close()
	r := w.asSidecar(w.get("/revocations?after=0"))
	r.Body = body
	r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	response, err := w.client.Do(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if event, err := revocation.NewReader(response.Body).Next(); err != nil || event.Kind != revocation.EventReset {
		t.Errorf("first event: got %v, %v, want a reset", event.Kind, err)
	}
}

func TestOnlySidecarsFollowTheStream(t *testing.T) {
	w := start(t)
	refused(t, w.do(w.get("/revocations")), http.StatusForbidden, issuer.ReasonNoSidecar, false)
}

func TestTheStreamShowsThatItLives(t *testing.T) {
	t.Parallel()
	w := start(t)
	f := w.follow("", 0)
	begin := time.Now()
	for f.next().Kind != revocation.EventHeartbeat {
	}
	if took := time.Since(begin); took > 2*revocation.HeartbeatSeconds*time.Second {
		t.Errorf("the first heartbeat took %v", took)
	}
}

func TestTheStreamEndsWhenTheIssuerGetsAnotherURL(t *testing.T) {
	w := start(t)
	f := w.follow("", 0)
	f.ready()
	renamed := defaults
	renamed.Issuer = "https://login.example.com"
	w.change("latchkey-config", func() { w.writeConfig(renamed) })
	sid := w.revoke()
	for {
		event, err := f.events.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || event.Kind == revocation.EventRevoke {
			t.Fatalf("got %s, %v, want the end of the stream", event.Kind, err)
		}
	}
	at := f.set.Position()
	g := w.follow(at.Stream, at.Number)
	g.ready()
	if !g.set.Revoked(revocation.SessionHash(renamed.Issuer, sid), w.clock.Now()) {
		t.Error("the session is not revoked under the new URL")
	}
}

func TestTheStreamEndsWhenTheTokenServiceStops(t *testing.T) {
	w := newWorld(t)
	stop := w.run()
	f := w.follow("", 0)
	f.ready()
	begin := time.Now()
	stop()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("stopping took %v with a stream open", took)
	}
	if _, err := f.events.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end of the stream", err)
	}
}

func TestStoppingDoesNotWaitForWhatNeverArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.run()
	body, never := io.Pipe()
	defer never.Close()
	r := w.post("/login", "", "")
	r.Body = body
	r.Header.Set("Content-Type", "application/json")
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = w.try(r) // cut off or refused
	}()
	if _, err := io.WriteString(never, `{"username":`); err != nil { // taken when the request is on its way
		t.Fatal(err)
	}
	begin := time.Now()
	stop() // fails the test if the request has to be cut off in the end
	if took := time.Since(begin); took > 9*time.Second {
		t.Errorf("stopping took %v", took)
	}
	<-answered
}
