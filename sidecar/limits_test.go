package sidecar_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/latchkey-dev/latchkey/internal/bundle"
)

func newLimitedWorld(t *testing.T, app http.HandlerFunc, limits bundle.Limits) *world {
	t.Helper()
	w := newWorld(t)
	w.serveApp(app)
	b := w.bundle()
	b.Limits = limits
	w.mount(b)
	w.start()
	return w
}

// respond reads one answer from a connection.
func respond(t *testing.T, connection net.Conn) answer {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	check(t, err)
	return readAnswer(t, response)
}

// closed waits until the other side closes, and says whether it said nothing before.
func closed(t *testing.T, connection net.Conn) bool {
	t.Helper()
	said, err := io.ReadAll(connection)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // as net returns it
		t.Fatal("got no end of the connection")
	}
	return len(said) == 0
}

func TestBodyBeyondTheLimitIsRefused(t *testing.T) {
	w := newLimitedWorld(t, echo, bundle.Limits{MaxBodyBytes: 10})
	for _, test := range []struct {
		name, body string
		status     int
	}{
		{"of the announced length", "Content-Length: 11\r\n\r\n01234567890", 413},
		{"announced, and not sent", "Content-Length: 1000000000\r\n\r\n", 413},
		{"in chunks", "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n", 413},
		{"just within", "Content-Length: 10\r\n\r\n0123456789", 200},
	} {
		connection := w.dial()
		_, err := io.WriteString(connection, "POST /public HTTP/1.1\r\nHost: app\r\n"+test.body)
		check(t, err)
		got := respond(t, connection)
		if got.Status != test.status || got.Status == 413 && got.reason() != "body_too_large" {
			t.Errorf("%s: got %d %q, want %d", test.name, got.Status, got.reason(), test.status)
		}
	}
}

func TestHeaderBeyondTheLimitIsRefused(t *testing.T) {
	w := newLimitedWorld(t, echo, bundle.Limits{MaxHeaderBytes: 4096})
	if got := w.do("GET", "/public", "", "Long: "+strings.Repeat("x", 16<<10)).Status; got != 431 {
		t.Errorf("got %d, want 431", got)
	}
	if got := w.do("GET", "/public", "", "Long: "+strings.Repeat("x", 3<<10)).Status; got != 200 {
		t.Errorf("got %d below the limit, want 200", got)
	}
}

func TestCallerWhoIsSlowWithTheHeaderIsLetGo(t *testing.T) {
	w := newLimitedWorld(t, echo, bundle.Limits{HeaderTimeout: time.Second})
	connection := w.dial()
	_, err := io.WriteString(connection, "GET /public HTTP/1.1\r\nHost: app\r\nX-Slow: ")
	check(t, err)
	closed(t, connection)
}

func TestConnectionThatIsIdleIsLetGo(t *testing.T) {
	w := newLimitedWorld(t, echo, bundle.Limits{IdleTimeout: time.Second})
	connection := w.dial()
	_, err := io.WriteString(connection, "HEAD /public HTTP/1.1\r\nHost: app\r\n\r\n")
	check(t, err)
	if closed(t, connection) {
		t.Error("got no answer before the end, want one")
	}
}

func TestCallerWhoStallsWithTheBodyIsToldSo(t *testing.T) {
	w := newLimitedWorld(t, echo, bundle.Limits{StallTimeout: time.Second})
	connection := w.dial()
	_, err := io.WriteString(connection, "POST /public HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhalf.")
	check(t, err)
	if got := respond(t, connection); got.Status != 408 || got.reason() != "caller_stalled" {
		t.Errorf("got %d %q, want 408 caller_stalled", got.Status, got.reason())
	}
}

func TestRefusedCallerWhoStallsWithTheBodyIsAnsweredAllTheSame(t *testing.T) {
	w := newLimitedWorld(t, echo, bundle.Limits{})
	connection := w.dial()
	_, err := io.WriteString(connection, "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhalf.")
	check(t, err)
	if got := respond(t, connection); got.Status != 401 {
		t.Errorf("got %d, want 401", got.Status)
	}
	closed(t, connection)
}

func TestCallerWhoTakesNothingOfTheAnswerIsLetGo(t *testing.T) {
	ended := make(chan struct{})
	w := newLimitedWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for r.Context().Err() == nil {
			if _, err := rw.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}, bundle.Limits{StallTimeout: time.Second})
	connection := w.dial()
	_, err := io.WriteString(connection, "GET /public HTTP/1.1\r\nHost: app\r\n\r\n")
	check(t, err)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("got the app still answering a caller who takes nothing")
	}
}

func TestSilenceOnBothSidesIsNoStall(t *testing.T) {
	w := newLimitedWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex()
		_ = http.NewResponseController(rw).Flush()
		_, _ = io.Copy(rw, r.Body)
	}, bundle.Limits{StallTimeout: time.Second})
	connection := w.dial()
	_, err := io.WriteString(connection, "POST /public HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhalf.")
	check(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	check(t, err)
	<-time.After(2 * time.Second) // what is awaited is that nothing happens
	_, err = io.WriteString(connection, "whole")
	check(t, err)
	if got := readAnswer(t, response); got.Body != "half.whole" {
		t.Errorf("got %q, want the conversation to go on", got.Body)
	}
}

func TestAppThatDoesNotAnswerInTimeIsGivenUp(t *testing.T) {
	w := newWorld(t)
	gone := make(chan struct{})
	w.serveApp(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	}))
	b := w.bundle()
	b.Upstream.ResponseTimeout = time.Second
	w.mount(b)
	w.start()
	if got := w.do("GET", "/public", ""); got.Status != 504 || got.reason() != "app_timeout" {
		t.Errorf("got %d %q, want 504 app_timeout", got.Status, got.reason())
	}
	<-gone // the app is told
}

func TestConnectionBeyondTheLimitIsTurnedAwayAtOnce(t *testing.T) {
	for _, test := range []struct {
		limit  string
		limits bundle.Limits
	}{
		{"maxConnections", bundle.Limits{MaxConnections: 2}},
		{"maxConnectionsPerClient", bundle.Limits{MaxConnectionsPerClient: 2}},
	} {
		w := newLimitedWorld(t, echo, test.limits)
		open := func() *http.Response {
			connection := w.dial()
			_, err := io.WriteString(connection, "GET /public HTTP/1.1\r\nHost: app\r\n\r\n")
			check(t, err)
			response, err := http.ReadResponse(bufio.NewReader(connection), nil)
			check(t, err)
			return response
		}
		for range 2 {
			if got := open().StatusCode; got != 200 {
				t.Errorf("%s: got %d within the limit, want 200", test.limit, got)
			}
		}
		if got := open(); got.StatusCode != 503 || got.Header.Get("Retry-After") == "" || !got.Close {
			t.Errorf("%s: got %d %v beyond the limit, want 503 with Retry-After and the connection closed", test.limit, got.StatusCode, got.Header)
		}
		if got := w.metric(`latchkey_sidecar_connections_refused_total{limit="` + test.limit + `"}`); got != "1" {
			t.Errorf("%s: got %s connections turned away, want 1", test.limit, got)
		}
		// A reload raises it for those that come.
		w.waitApplied(w.mount(w.bundle()))
		if got := open().StatusCode; got != 200 {
			t.Errorf("%s: got %d after the limit is gone, want 200", test.limit, got)
		}
	}
}

func TestRequestsBeyondTheLimitAreTurnedAway(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	w := newLimitedWorld(t, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}, bundle.Limits{MaxRequests: 1})
	first := make(chan answer, 1)
	go func() { first <- w.do("GET", "/public", "") }()
	<-entered
	if got := w.do("GET", "/public", ""); got.Status != 503 || got.reason() != "overloaded" || got.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %q, want 503 overloaded with Retry-After", got.Status, got.reason())
	}
	close(release)
	if got := (<-first).Status; got != 200 {
		t.Errorf("got %d for the one within the limit, want 200", got)
	}
}

// speakHTTP2 begins HTTP/2 on a connection, without TLS.
func speakHTTP2(t *testing.T, connection net.Conn, settings ...http2.Setting) *http2.Framer {
	t.Helper()
	_, err := io.WriteString(connection, http2.ClientPreface)
	check(t, err)
	framer := http2.NewFramer(connection, connection)
	check(t, framer.WriteSettings(settings...))
	return framer
}

// ask sends a request on a stream.
func ask(framer *http2.Framer, stream uint32, path string) error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "app"}, {":path", path}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
}

// Over HTTP/2 a caller may say that it takes no byte of any body.
func TestStreamWhoseRefusalIsNotTakenIsReset(t *testing.T) {
	w := newLimitedWorld(t, echo, bundle.Limits{StallTimeout: time.Second})
	framer := speakHTTP2(t, w.dial(), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	check(t, ask(framer, 1, "/closed"))
	for reset := false; !reset; {
		frame, err := framer.ReadFrame()
		check(t, err)
		_, reset = frame.(*http2.RSTStreamFrame)
	}
}

// So that such callers cannot have any number of refusals wait for them, streams beyond a number get none. Others are served.
func TestRefusalsThatNobodyTakesAreBounded(t *testing.T) {
	const streams, refusals = 250, 10_000 // of a connection; and at once
	w := newLimitedWorld(t, echo, bundle.Limits{MaxRequests: 300, StallTimeout: time.Hour})
	connect := func() *http2.Framer {
		return speakHTTP2(t, w.dial(), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	}
	for range refusals / streams {
		framer := connect()
		for stream := uint32(1); stream < 2*streams; stream += 2 {
			check(t, ask(framer, stream, "/closed"))
		}
	}
	w.eventually("one more gets none", func() bool {
		framer := connect()
		check(t, ask(framer, 1, "/closed"))
		for {
			frame, err := framer.ReadFrame()
			check(t, err)
			switch frame.(type) {
			case *http2.HeadersFrame:
				return false
			case *http2.RSTStreamFrame:
				return true
			}
		}
	})
	w.eventually("others are served", func() bool { return w.do("GET", "/public", "").Status == 200 })
}

// Or a caller says that it takes all there is, and reads nothing.
func TestHTTP2CallerWhoReadsNothingIsCutOff(t *testing.T) {
	w := newLimitedWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := rw.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}, bundle.Limits{StallTimeout: time.Second})
	connection := w.dial()
	check(t, connection.(*net.TCPConn).SetReadBuffer(4<<10)) // and it does not grow
	framer := speakHTTP2(t, connection, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	err := framer.WriteWindowUpdate(0, 1<<30)
	for stream := uint32(1); err == nil; stream += 2 {
		err = ask(framer, stream, "/public")
		<-time.After(time.Second) // by then the one before was given up, which makes room for a few bytes more; and a flood would end it, too
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("got the connection kept, want it closed")
	}
}

// A caller who opens and resets streams as fast as it can (CVE-2023-44487) has no more of them at work than the limit, and is sent away unless they end as
// fast as they come.
func TestRapidResetKeepsWithinTheLimitOfStreams(t *testing.T) {
	const limit = 10
	release := make(chan struct{})
	w := newLimitedWorld(t, func(http.ResponseWriter, *http.Request) { <-release }, bundle.Limits{MaxStreamsPerConnection: limit})
	defer close(release)
	connection := w.dial()
	framer := speakHTTP2(t, connection)
	var flood bytes.Buffer // made before it is sent: who is slow is no flood
	flooding := http2.NewFramer(&flood, nil)
	for stream := uint32(1); stream < 20_000; stream += 2 {
		check(t, ask(flooding, stream, "/public"))
		check(t, flooding.WriteRSTStream(stream, http2.ErrCodeCancel))
	}
	check(t, flooding.WritePing(false, [8]byte{}))
	go func() { _, _ = connection.Write(flood.Bytes()) }() // as much of it as is taken
	last := ""
	for last == "" {
		frame, broken := framer.ReadFrame()
		check(t, broken)
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			last = frame.ErrCode.String()
		case *http2.PingFrame:
			last = "all have ended"
		}
	}
	if last != "ENHANCE_YOUR_CALM" && last != "all have ended" {
		t.Errorf("got sent away with %s, want ENHANCE_YOUR_CALM", last)
	}
	var inFlight int
	_, err := fmt.Sscan(w.metric("latchkey_sidecar_requests_in_flight"), &inFlight)
	check(t, err)
	if inFlight > limit {
		t.Errorf("got %d requests at work, want %d at most", inFlight, limit)
	}
}
