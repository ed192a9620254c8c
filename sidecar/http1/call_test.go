package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/sidecar/http1"
)

// scripted is an app that answers each connection with the same bytes, whatever it is asked, and closes it. Asked is what it is asked, whole.
type scripted struct {
	testing.TB
	answer []byte
	asked  []byte
	ended  sync.WaitGroup
}

func (s *scripted) dial(context.Context) (net.Conn, error) {
	near, far := pair(s.TB)
	s.ended.Go(func() {
		defer far.Close()
		check(s.TB, far.SetDeadline(time.Now().Add(10*time.Second)))
		reader := bufio.NewReader(far)
		var asked bytes.Buffer
		request, err := http.ReadRequest(bufio.NewReader(io.TeeReader(reader, &asked)))
		if err == nil {
			_, _ = io.Copy(io.Discard, request.Body)
		}
		s.asked = asked.Bytes()
		_, _ = far.Write(s.answer)
	})
	return near, nil
}

// passed is what a caller gets of an answer.
type passed struct {
	Status          int
	Header, Trailer http.Header
	Body            string
	Failed          bool
}

// standardly asks with net/http.
func (s *scripted) standardly(r *http.Request) (got passed) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) }, DisableCompression: true}
	defer s.ended.Wait()
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		return passed{Failed: true}
	}
	defer response.Body.Close()
	if response.StatusCode < 200 {
		return passed{Failed: true} // it cannot be answered with; and nobody asked for another protocol (101)
	}
	body, err := io.ReadAll(response.Body)
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		for _, line := range response.Header["Connection"] {
			for each := range strings.SplitSeq(line, ",") {
				response.Header.Del(strings.TrimSpace(each))
			}
		}
		response.Header.Del(name)
	}
	return passed{Status: response.StatusCode, Header: response.Header, Trailer: response.Trailer, Body: string(body), Failed: err != nil}
}

// recorder is told of the body, and in the header of the trailers.
type recorder struct {
	bytes.Buffer
	header http.Header
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(int) {}

func (s *scripted) ours(r *http.Request, body string) (got passed) {
	client := http1.NewClient(s.dial, time.Minute)
	defer s.ended.Wait()
	defer client.Close()
	var call http1.Call
	begin(&call, client, r)
	answer, err := call.Send(context.Background(), []byte(body), func(int, http.Header) {})
	if err != nil {
		return passed{Failed: true}
	}
	w := &recorder{header: http.Header{}}
	got = passed{Status: answer.Status, Header: http.Header{}}
	answer.AddTo(got.Header)
	got.Header = got.Header.Clone()
	for _, name := range answer.Trailer {
		if got.Trailer == nil {
			got.Trailer = http.Header{}
		}
		got.Trailer[name] = nil
	}
	err = call.Copy(w)
	got.Body, got.Failed = w.String(), err != nil
	for name, values := range w.Header() {
		if got.Trailer == nil {
			got.Trailer = http.Header{}
		}
		got.Trailer[strings.TrimPrefix(name, http.TrailerPrefix)] = values
	}
	return got
}

// begin begins a call with all that the header of r has.
func begin(call *http1.Call, client *http1.Client, r *http.Request) {
	call.Begin(client, r)
	for name, values := range r.Header {
		for _, value := range values {
			if !call.AddNew(name, value) {
				panic(name)
			}
		}
	}
}

func request(method, body string) *http.Request {
	r := &http.Request{
		Method: method, URL: &url.URL{Scheme: "http", Host: "app", Path: "/a", RawQuery: "b=c"}, Host: "app",
		Header: http.Header{"User-Agent": {""}, "X-One": {"1", "2"}, "Cookie": {"a=b"}},
	}
	if body != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	return r
}

var answers = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, world",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
	"HTTP/1.1 200\r\ncontent-length: 5\r\nX: \t a \r\nx: b\r\nConnection: Keep-Alive\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: a\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n5\r\nhello\r\n0\r\nX-End: 1\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-End: 1\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\n\r\nuntil the end", "HTTP/1.0 200 OK\r\n\r\nuntil the end", "HTTP/1.0 200 OK\nX: y\n\nhello", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200\tOK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX\x00: a\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\x00\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nPragma: no-cache\r\nContent-Length: 0\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "nonsense\r\n\r\n", "",
	"HTTP/1.1 200 OK\r\nX: \xff\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("0123456789", 10000),
	"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("long", 5000) + "\r\nContent-Length: 5\r\n\r\nhello",
}

func compareAnswers(t testing.TB, method, answer string) {
	t.Helper()
	app := &scripted{TB: t, answer: []byte(answer)}
	want := app.standardly(request(method, ""))
	wantAsked := app.asked
	got := app.ours(request(method, ""), "")
	gotAsked := app.asked
	if got.Failed && want.Failed {
		got.Body, want.Body = "", "" // who notices first that it goes wrong is nobody's business
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("%s: got -, want + of %q:\n%s", method, answer, diff)
	}
	if diff := cmp.Diff(read(t, gotAsked), read(t, wantAsked)); diff != "" {
		t.Errorf("%s: got -, want + of what the app was asked:\n%s", method, diff)
	}
}

// read returns a request as an app reads it.
func read(t testing.TB, sent []byte) noted {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
	check(t, err)
	body, err := io.ReadAll(r.Body)
	return noted{
		Method: r.Method, URI: r.RequestURI, Host: r.Host, Proto: r.Proto, Header: r.Header, Length: r.ContentLength, Encoding: r.TransferEncoding, Close: r.Close,
		Body: string(body), BodyErr: err != nil,
	}
}

func TestAnswersAreReadAsByNetHTTP(t *testing.T) {
	for _, answer := range answers {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			compareAnswers(t, method, answer)
		}
	}
}

// Whatever the app answers: the caller gets what net/http would have read.
func FuzzAnswersAreReadAsByNetHTTP(f *testing.F) {
	for _, seed := range answers {
		if len(seed) < 1<<10 { // larger ones are slow to minimize
			f.Add([]byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte) { compareAnswers(t, http.MethodGet, string(answer)) })
}

func TestRequestsAreSentAsByNetHTTP(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		for _, body := range []string{"", "hello", strings.Repeat("x", 20000)} {
			app := &scripted{TB: t, answer: []byte("HTTP/1.1 204 No Content\r\n\r\n")}
			app.standardly(request(method, body))
			want := read(t, app.asked)
			app.ours(request(method, ""), body)
			if diff := cmp.Diff(read(t, app.asked), want); diff != "" {
				t.Errorf("%s with %d bytes: got -, want +:\n%s", method, len(body), diff)
			}
		}
	}
}

// An app closes connections as it likes. A request that changes nothing is sent again; any other is sent over a connection that is known to be open.
func TestConnectionThatTheAppHasClosedCostsNoRequest(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			check(t, err)
			served, closed := 0, make(chan struct{})
			var ended sync.WaitGroup
			ended.Go(func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil && r.Method == method {
						served++
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") // and says nothing of the end
					}
					_ = conn.Close()
					closed <- struct{}{}
				}
			})
			client := http1.NewClient(func(ctx context.Context) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
			}, time.Minute)
			const requests = 50
			var call http1.Call
			for range requests {
				begin(&call, client, request(method, ""))
				_, err := call.Send(context.Background(), nil, func(int, http.Header) {})
				check(t, err)
				check(t, call.Copy(&recorder{}))
				<-closed
			}
			client.Close()
			check(t, listener.Close())
			ended.Wait()
			if served != requests {
				t.Errorf("the app got %d requests, want %d", served, requests)
			}
		})
	}
}

// An app that is too busy may say so to whoever connects. The poller has told of it before the app is asked, and tells of nothing twice.
func TestAppThatAnswersBeforeItIsAskedIsHeard(t *testing.T) {
	client := http1.NewClient(func(context.Context) (net.Conn, error) {
		near, far := pair(t)
		t.Cleanup(func() { _ = far.Close() })
		raw, err := near.(syscall.Conn).SyscallConn()
		check(t, err)
		answered := false
		return near, raw.Read(func(uintptr) (told bool) {
			if answered {
				return true
			}
			answered = true
			_, err = io.WriteString(far, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
			return err != nil // else when the poller has told
		})
	}, time.Minute)
	defer client.Close()
	var call http1.Call
	begin(&call, client, request("GET", ""))
	patience := time.AfterFunc(time.Minute, func() { call.Cancel(errors.New("nothing was heard")) })
	defer patience.Stop()
	answer, err := call.Send(context.Background(), nil, func(int, http.Header) {})
	check(t, err)
	if answer.Status != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", answer.Status)
	}
	check(t, call.Copy(&recorder{header: http.Header{}}))
}

func TestCallThatIsCancelledEnds(t *testing.T) {
	near, far := pair(t)
	defer far.Close()
	client := http1.NewClient(func(context.Context) (net.Conn, error) { return near, nil }, time.Minute)
	defer client.Close()
	var call http1.Call
	begin(&call, client, request("GET", ""))
	enough := errors.New("enough")
	ended := make(chan error)
	go func() {
		_, err := call.Send(context.Background(), nil, func(int, http.Header) {})
		ended <- err
	}()
	_, err := http.ReadRequest(bufio.NewReader(far))
	check(t, err)
	call.Cancel(enough)
	if err := <-ended; !errors.Is(err, enough) {
		t.Errorf("got %v, want %v", err, enough)
	}
}
