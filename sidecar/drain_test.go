package sidecar_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

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
