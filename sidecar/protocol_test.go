package sidecar_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/net/websocket"

	"github.com/latchkey-dev/latchkey/internal/bundle"
)

// exchangeRaw writes a request and reads everything up to the end of the connection.
func (w *world) exchangeRaw(request string) string {
	w.Helper()
	connection := w.dial()
	_, err := io.WriteString(connection, request)
	check(w, err)
	got, err := io.ReadAll(connection)
	check(w, err)
	return string(got)
}

func TestAnswersWithoutABodyStayWithoutOne(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/public/204":
			rw.WriteHeader(http.StatusNoContent)
		case "/public/304":
			rw.Header().Set("Etag", `"a"`)
			rw.WriteHeader(http.StatusNotModified)
		default:
			rw.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(rw, "hello")
		}
	}))
	w.mount(w.bundle())
	w.start()
	for _, test := range []struct{ name, line, status string }{
		{"204", "GET /public/204", "204 No Content"},
		{"304", "GET /public/304", "304 Not Modified"},
		{"HEAD", "HEAD /public", "200 OK"},
	} {
		got := w.exchangeRaw(test.line + " HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
		head, body, _ := strings.Cut(got, "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 "+test.status+"\r\n") || body != "" {
			t.Errorf("%s: got %q, want %s and no body", test.name, got, test.status)
		}
		if test.name == "HEAD" && !strings.Contains(head, "Content-Length: 5") {
			t.Errorf("got %q, want the length that a GET would have", head)
		}
	}
}

func TestCallerOfHTTP10IsAnsweredInItsWords(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "in ")
		_ = http.NewResponseController(rw).Flush() // so the app sends chunks, which HTTP/1.0 does not know
		_, _ = io.WriteString(rw, "pieces")
	}))
	w.mount(w.bundle())
	w.start()
	got := w.exchangeRaw("GET /public HTTP/1.0\r\nHost: app\r\n\r\n")
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	if strings.Contains(head, "chunked") || body != "in pieces" {
		t.Errorf("got %q, want the body as it is", got)
	}
}

func TestConnectionIsClosedWhenTheCallerAsks(t *testing.T) {
	w := newProtectedApp(t)
	got := w.exchangeRaw("GET /public HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\nGET /public HTTP/1.1\r\nHost: app\r\n\r\n")
	if strings.Count(got, "HTTP/1.1 200") != 1 || !strings.Contains(got, "Connection: close") {
		t.Errorf("got %q, want one answer and the end", got)
	}
}

func TestTrailersAndInterimAnswersPass(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</style.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Set("Trailer", "Checksum")
		_, _ = io.WriteString(rw, "body")
		rw.Header().Set("Checksum", "abc")
	}))
	w.mount(w.bundle())
	w.start()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(protocol == "HTTP/1.1")
		transport.Protocols.SetUnencryptedHTTP2(protocol != "HTTP/1.1")
		var early string
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			if status == http.StatusEarlyHints {
				early = header.Get("Link")
			}
			return nil
		}})
		request, err := http.NewRequestWithContext(ctx, "GET", "http://"+w.podIP+":"+port+"/public", nil)
		check(t, err)
		response, err := transport.RoundTrip(request)
		check(t, err)
		got := readAnswer(t, response)
		if early == "" || response.Trailer.Get("Checksum") != "abc" || got.Body != "body" {
			t.Errorf("%s: got hints %q, trailers %v and body %q, want all that the app said", protocol, early, response.Trailer, got.Body)
		}
		transport.CloseIdleConnections()
	}
}

func TestExpectedBodyIsAskedForWhenTheAppAsks(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/public/no" {
			rw.WriteHeader(http.StatusConflict)
			return
		}
		echo(rw, r)
	}))
	w.mount(w.bundle())
	w.start()
	for _, test := range []struct {
		path   string
		status []int
	}{{"/public", []int{100, 200}}, {"/public/no", []int{409}}} {
		connection := w.dial()
		reader := bufio.NewReader(connection)
		_, err := io.WriteString(connection, "POST "+test.path+" HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		check(t, err)
		for _, want := range test.status {
			response, err := http.ReadResponse(reader, nil)
			check(t, err)
			if response.StatusCode != want {
				t.Fatalf("%s: got %d, want %d", test.path, response.StatusCode, want)
			}
			if want == 100 {
				_, err = io.WriteString(connection, "hello")
				check(t, err)
			}
		}
	}
}

// What is left of a body that nobody waited for must not be taken for a request, whatever it is.
func TestEarlyAnswerArrivesAndClosesTheConnection(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex() // an app that does not wait for the body, as others than Go's are
		rw.WriteHeader(http.StatusRequestEntityTooLarge)
	}))
	w.mount(w.bundle())
	w.start()
	const smuggled = "GET /public/smuggled HTTP/1.1\r\nHost: app\r\n\r\n"
	for _, body := range []string{
		"Content-Length: 1000000\r\n\r\nsome",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
		"Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\nno length\r\n" + smuggled,
	} {
		connection := w.dial()
		_, err := io.WriteString(connection, "POST /public HTTP/1.1\r\nHost: app\r\n"+body)
		check(t, err)
		got, _ := io.ReadAll(connection) // the end may be a reset: there was more to read
		if answers := strings.Count(string(got), "HTTP/1.1 "); answers != 1 || !strings.Contains(string(got), "Connection: close") {
			t.Errorf("%.60q: got %q, want one answer and the end", body, got)
		}
	}
}

func TestCallerWhoHangsUpIsToldToTheApp(t *testing.T) {
	w := newWorld(t)
	entered, gone := make(chan struct{}), make(chan struct{})
	w.serveApp(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(gone)
	}))
	w.mount(w.bundle())
	w.start()
	connection := w.dial()
	_, err := io.WriteString(connection, "GET /public HTTP/1.1\r\nHost: app\r\n\r\n")
	check(t, err)
	<-entered
	check(t, connection.(*net.TCPConn).CloseWrite()) // half is enough, as everywhere on the web
	<-gone
}

func TestAppThatHangsUpInTheMidstIsNoWholeAnswer(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "half")
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	}))
	w.mount(w.bundle())
	w.start()
	response, err := w.client.Get("http://" + w.podIP + ":" + port + "/public")
	check(t, err)
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("got %q as if it were whole, want an error", got)
	}
}

func TestWebSocketClientTalksToTheApp(t *testing.T) {
	w := newWorld(t)
	w.serveApp(websocket.Handler(func(connection *websocket.Conn) {
		var message string
		for websocket.Message.Receive(connection, &message) == nil {
			_ = websocket.Message.Send(connection, message)
		}
	}))
	w.mount(w.bundle())
	w.start()
	config, err := websocket.NewConfig("ws://"+w.podIP+":"+port+"/socket", "http://"+w.podIP+":"+port)
	check(t, err)
	config.Header.Set("Authorization", "Bearer "+w.token("alice", nil))
	connection, err := config.DialContext(context.Background())
	check(t, err)
	defer connection.Close()
	check(t, connection.SetDeadline(time.Now().Add(patience)))
	large := strings.Repeat("x", 1<<20)
	for _, message := range []string{"hello", large, "bye"} {
		check(t, websocket.Message.Send(connection, message))
		var got string
		check(t, websocket.Message.Receive(connection, &got))
		if got != message {
			t.Errorf("got %.20q of %d bytes, want the message back", got, len(got))
		}
	}
}

// RFC 8441 is not offered; a caller who tries it all the same loses that stream and nothing else.
func TestWebSocketOverHTTP2IsRefusedAndTheConnectionGoesOn(t *testing.T) {
	w := newProtectedApp(t)
	connection := w.dial()
	_, err := io.WriteString(connection, http2.ClientPreface)
	check(t, err)
	framer := http2.NewFramer(connection, connection)
	check(t, framer.WriteSettings())
	request := func(id uint32, fields ...string) {
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for i := 0; i < len(fields); i += 2 {
			check(t, encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
		}
		check(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: id != 1, EndHeaders: true}))
	}
	request(1, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "app", ":path", "/public")
	request(3, ":method", "GET", ":scheme", "http", ":authority", "app", ":path", "/public")
	reset, answered := false, false
	for !reset || !answered {
		frame, err := framer.ReadFrame()
		check(t, err)
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			reset = reset || frame.StreamID == 1 && frame.ErrCode == http2.ErrCodeProtocol
		case *http2.HeadersFrame:
			answered = answered || frame.StreamID == 3
		case *http2.GoAwayFrame:
			t.Fatalf("got GOAWAY %v, want the connection to go on", frame.ErrCode)
		}
	}
}

// zeros reads as so many bytes.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.left))
	z.left -= int64(n)
	return n, nil
}

func TestGigabytePassesEitherWayInConstantMemory(t *testing.T) {
	w := newWorld(t)
	w.passesLarge(w.client.Transport.(*http.Transport), 1<<30)
}

func TestLargeBodiesPassEitherWayOverHTTP2InConstantMemory(t *testing.T) {
	for _, test := range []struct {
		name string
		app  bundle.Protocol
	}{{"to an app of HTTP/1.1", ""}, {"to an app of HTTP/2", bundle.ProtocolHTTP2}} {
		t.Run(test.name, func(t *testing.T) {
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(true)
			t.Cleanup(transport.CloseIdleConnections)
			w := newWorld(t)
			b := w.bundle()
			b.Upstream.Protocol = test.app
			w.mount(b)
			w.passesLarge(transport, 256<<20)
		})
	}
}

// passesLarge sends so many bytes to an app and fetches as many. Unless a bundle is mounted already, it is the usual one.
func (w *world) passesLarge(transport *http.Transport, size int64) {
	w.Helper()
	received := make(chan int64, 1)
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, _ := io.Copy(io.Discard, r.Body)
			received <- n
			return
		}
		_, _ = io.Copy(rw, &zeros{size})
	}))
	if w.versions == 0 {
		w.mount(w.bundle())
	}
	w.start()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	response, err := client.Post("http://"+w.podIP+":"+port+"/public", "application/octet-stream", &zeros{size})
	check(w, err)
	readAnswer(w, response)
	if got := <-received; got != size {
		w.Errorf("got %d bytes at the app, want all", got)
	}
	response, err = client.Get("http://" + w.podIP + ":" + port + "/public")
	check(w, err)
	n, err := io.Copy(io.Discard, response.Body)
	check(w, err)
	response.Body.Close()
	if n != size {
		w.Errorf("got %d bytes back, want all", n)
	}

	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
		w.Errorf("got the heap grown by %d bytes, want it as good as constant", grown)
	}
}
