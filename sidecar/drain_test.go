package sidecar_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// farewell is how long connections that say nothing are kept open at the beginning and at the end of a drain.
const farewell = time.Second

func TestDrainLetsRequestsInFlightFinish(t *testing.T) {
	w := newWorld(t)
	entered, release := make(chan struct{}), make(chan struct{})
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/public/slow" {
			close(entered)
			<-release
		}
		_, _ = io.WriteString(rw, "done")
	}))
	w.mount(w.bundle())
	w.start()
	slow := make(chan answer, 1)
	go func() { slow <- w.do("GET", "/public/slow", "") }()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	w.eventually("the sidecar drains", func() bool { return w.admin("/readyz").Status == 503 })

	// Callers who do not know yet are served, and told to go.
	response, err := w.client.Get("http://" + w.podIP + ":" + port + "/public/late")
	check(t, err)
	if got := readAnswer(t, response); got.Status != 200 || !response.Close {
		t.Errorf("got %d with Connection: close %v, want 200 and true", got.Status, response.Close)
	}
	close(release)
	if got := <-slow; got.Status != 200 || got.Body != "done" {
		t.Errorf("got %d %q, want the request in flight to finish", got.Status, got.Body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("got %v, want a clean end", err)
	}
	if connection, err := net.Dial("tcp", w.podIP+":"+port); err == nil {
		connection.Close()
		t.Error("got a connection after the end, want none")
	}
}

// A kept connection has brought half a head when the drain begins. The rest comes when the servers are being shut down, and is nothing that can be read
// as plain: so the request changes servers at the last moment.
func TestDrainAnswersARequestWhoseHeadEndsLate(t *testing.T) {
	var pods sync.WaitGroup
	for range 20 { // each is one chance to be late
		w := newProtectedApp(t)
		connection := w.dial()
		answers := bufio.NewReader(connection)
		ask := func(request string) {
			_, err := io.WriteString(connection, request)
			check(t, err)
		}
		expect := func() {
			response, err := http.ReadResponse(answers, nil)
			check(t, err)
			if got := readAnswer(t, response); got.Status != http.StatusOK {
				t.Errorf("got %d, want 200", got.Status)
			}
		}
		ask("GET /public HTTP/1.1\r\nHost: app\r\n\r\n")
		expect()
		ask("POST /public HTTP/1.1\r\nHost: app\r\n")
		pods.Go(func() {
			stopped := make(chan error, 1)
			go func() { stopped <- w.stop() }()
			w.eventually("nobody is let in any more", func() bool {
				late, err := net.Dial("tcp", w.podIP+":"+port)
				if err == nil {
					late.Close()
				}
				return err != nil
			})
			<-time.After(farewell + farewell/5)
			ask("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
			expect()
			check(t, <-stopped)
		})
	}
	pods.Wait()
}

// Clients of gRPC connect ahead of their first call. They are told to go, and nobody waits for them.
func TestDrainWaitsForNobodyWhoHasAskedForNothing(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	w.mount(w.bundle())
	w.start("--drain=10m")
	framer := speakHTTP2(t, w.dial())
	_, err := framer.ReadFrame() // it is being served
	check(t, err)
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	for told := false; !told; {
		frame, err := framer.ReadFrame()
		check(t, err)
		_, told = frame.(*http2.GoAwayFrame)
	}
	check(t, <-stopped)
}

func TestDrainIsBounded(t *testing.T) {
	w := newWorld(t)
	entered := make(chan struct{}, 2)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" {
			webSocketApp(rw, r)
			return
		}
		entered <- struct{}{}
		<-r.Context().Done()
	}))
	w.mount(w.bundle())
	w.start("--drain=50ms")
	hanging := make(chan error, 1)
	go func() {
		response, err := w.client.Get("http://" + w.podIP + ":" + port + "/public/hangs")
		if err == nil {
			response.Body.Close()
		}
		hanging <- err
	}()
	<-entered
	socket := w.dial()
	_, err := io.WriteString(socket, "GET /socket HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer "+w.token("alice", nil)+"\r\n\r\n")
	check(t, err)
	_, err = socket.Read(make([]byte, 1))
	check(t, err)

	check(t, w.stop())
	if err := <-hanging; err == nil {
		t.Error("got an answer to a request that was cut off, want an error: it has none")
	}
	if _, err := io.Copy(io.Discard, socket); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("got %v from the WebSocket, want it closed", err)
	}
}
