package sidecar_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEventsArriveAsTheyAreSent(t *testing.T) {
	w := newWorld(t)
	next := make(chan string)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			_, _ = io.WriteString(rw, "data: "+event+"\n\n")
			rw.(http.Flusher).Flush()
		}
	}))
	w.mount(w.bundle())
	w.start()
	go func() { next <- "first" }()
	response, err := w.client.Get("http://" + w.podIP + ":" + port + "/public/events")
	check(t, err)
	defer response.Body.Close()
	events := bufio.NewReader(response.Body)
	readEvent := func(want string) {
		t.Helper()
		got, err := events.ReadString('\n')
		check(t, err)
		_, _ = events.ReadString('\n')
		if got != "data: "+want+"\n" {
			t.Errorf("got %q, want event %q", got, want)
		}
	}
	readEvent("first") // while the app has not ended its answer
	next <- "second"
	readEvent("second")

	// A reload leaves the stream alone.
	b := w.bundle()
	b.Policy.Rules = b.Policy.Rules[:1]
	w.waitApplied(w.mount(b))
	next <- "third"
	readEvent("third")
	close(next)
}

func TestBodiesStreamBothWays(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex() // HTTP/2 needs no leave
		rw.WriteHeader(http.StatusOK)
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			_, _ = io.WriteString(rw, strings.ToUpper(lines.Text())+"\n")
			_ = http.NewResponseController(rw).Flush()
		}
	}))
	w.mount(w.bundle())
	w.start()
	http2 := &http.Transport{Protocols: new(http.Protocols)}
	http2.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(http2.CloseIdleConnections)
	for protocol, transport := range map[string]http.RoundTripper{"HTTP/1.1": w.client.Transport, "HTTP/2": http2} {
		t.Run(protocol, func(t *testing.T) { w.talkOverABody(t, transport) })
	}
}

// talkOverABody sends each line of a body after the answer to the line before has come.
func (w *world) talkOverABody(t *testing.T, transport http.RoundTripper) {
	body, sending := io.Pipe()
	time.AfterFunc(patience, func() { sending.CloseWithError(io.ErrUnexpectedEOF) })
	request, err := http.NewRequest("POST", "http://"+w.podIP+":"+port+"/public/talk", body)
	check(t, err)
	go func() { _, _ = io.WriteString(sending, "hello\n") }()
	response, err := transport.RoundTrip(request)
	check(t, err)
	defer response.Body.Close()
	answers := bufio.NewReader(response.Body)
	for _, want := range []string{"HELLO\n", "AGAIN\n"} {
		got, err := answers.ReadString('\n')
		check(t, err)
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if want == "HELLO\n" {
			_, _ = io.WriteString(sending, "again\n")
		}
	}
	check(t, sending.Close())
	if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v after the end, want nothing", rest, err)
	}
}

// webSocketApp takes the handshake and sends back what it receives.
func webSocketApp(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("X-Auth-Subject") == "" {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	connection, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_ = buffered.Flush()
	_, _ = io.Copy(connection, buffered)
}

func TestWebSocketPassesOnceItsRequestMay(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(webSocketApp))
	w.mount(w.bundle())
	w.start()
	open := func(authorization string) (*bufio.Reader, net.Conn, *http.Response) {
		connection := w.dial()
		_, err := io.WriteString(connection, "GET /socket HTTP/1.1\r\nHost: app\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"+authorization+"\r\n")
		check(t, err)
		reader := bufio.NewReader(connection)
		response, err := http.ReadResponse(reader, nil)
		check(t, err)
		return reader, connection, response
	}
	if _, _, response := open(""); response.StatusCode != 401 {
		t.Errorf("got %d without a token, want 401", response.StatusCode)
	}
	reader, connection, response := open("Authorization: Bearer " + w.token("alice", nil) + "\r\n")
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %d, want 101", response.StatusCode)
	}
	for _, message := range []string{"one\n", "two\n"} {
		_, err := io.WriteString(connection, message)
		check(t, err)
		if got, err := reader.ReadString('\n'); err != nil || got != message {
			t.Errorf("got %q, %v, want %q back", got, err, message)
		}
	}
	check(t, connection.Close())
}

func TestGRPCReachesTheAppOverHTTP2(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Trailer", "Grpc-Status")
		rw.Header().Set("X-Seen", r.Proto+" "+r.Header.Get("X-Auth-Subject")+" "+r.Header.Get("Te"))
		_, _ = io.WriteString(rw, "message")
		rw.Header().Set("Grpc-Status", "0")
	}))
	w.mount(w.bundle())
	w.start()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	call := func(token string) *http.Response {
		request, err := http.NewRequestWithContext(ctx, "POST", "http://"+w.podIP+":"+port+"/service/Method", strings.NewReader("x"))
		check(t, err)
		request.Header.Set("Te", "trailers")
		request.Header.Set("Content-Type", "application/grpc+proto")
		request.Header.Set("X-Auth-Subject", "mallory")
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := transport.RoundTrip(request)
		check(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		check(t, err)
		check(t, response.Body.Close())
		return response
	}
	if got := call("").Header.Get("Grpc-Status"); got != "16" {
		t.Errorf("got grpc-status %s without a token, want 16", got)
	}
	got := call(w.token("alice", nil))
	if got.StatusCode != 200 || got.Header.Get("X-Seen") != "HTTP/2.0 alice trailers" || got.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("got %d, %q, trailers %v, want 200 from the app over HTTP/2 with its trailer", got.StatusCode, got.Header.Get("X-Seen"), got.Trailer)
	}
}

func TestExpectedBodyIsAskedForOnlyWhenTheRequestMayPass(t *testing.T) {
	w := newProtectedApp(t)
	connection := w.dial()
	check(t, connection.SetDeadline(time.Now().Add(patience)))
	_, err := io.WriteString(connection, "POST /orders HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	check(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	check(t, err)
	if response.StatusCode != 401 {
		t.Errorf("got %d, want 401 before the body was asked for", response.StatusCode)
	}
}
