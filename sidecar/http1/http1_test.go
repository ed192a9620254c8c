package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/latchkey-dev/latchkey/sidecar/http1"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // net/http tells there what the apps of these tests do
	goleak.VerifyTestMain(m)
}

// pair is the two ends of a connection.
func pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		ends[i], err = net.FileConn(file)
		check(t, errors.Join(err, file.Close()))
	}
	return ends[0], ends[1]
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// standard is net/http's server on connections that are brought to it.
type standard struct {
	arrivals chan net.Conn
	closed   chan struct{}
	server   *http.Server
	ended    sync.WaitGroup
}

func newStandard(t testing.TB, handler http.Handler) *standard {
	s := &standard{arrivals: make(chan net.Conn), closed: make(chan struct{}), server: &http.Server{
		Handler: handler, DisableGeneralOptionsHandler: true, ErrorLog: log.New(io.Discard, "", 0), MaxHeaderBytes: 8 << 10,
	}}
	s.ended.Go(func() { _ = s.server.Serve(s) })
	t.Cleanup(func() {
		_ = s.server.Close()
		s.ended.Wait()
	})
	return s
}

func (s *standard) Accept() (net.Conn, error) {
	select {
	case conn := <-s.arrivals:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *standard) Close() error {
	close(s.closed)
	return nil
}

func (s *standard) Addr() net.Addr { return &net.UnixAddr{} }

func (s *standard) take(conn net.Conn) {
	select {
	case s.arrivals <- conn:
	case <-s.closed:
		_ = conn.Close()
	}
}

var limits = http1.Limits{HeadBytes: 8 << 10, HeadTimeout: time.Minute, IdleTimeout: time.Minute, StallTimeout: time.Minute}

// both returns ways to connect to the two servers: net/http's, and ours with net/http's behind it. HandedOver counts what ours did not read.
func both(t testing.TB, handler http.Handler, handedOver func()) (standardly, ours func(testing.TB) net.Conn) {
	reference, behind := newStandard(t, handler), newStandard(t, handler)
	ctx, cancel := context.WithCancel(context.Background())
	server := http1.NewServer(ctx, handler, func(conn net.Conn) {
		handedOver()
		behind.take(conn)
	}, limits)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		server.Close()
		serving.Wait()
	})
	standardly = func(t testing.TB) net.Conn {
		near, far := pair(t)
		reference.take(far)
		return near
	}
	ours = func(t testing.TB) net.Conn {
		near, far := pair(t)
		serving.Go(func() { server.Serve(far) })
		return near
	}
	return standardly, ours
}

// heard is what a caller hears of one answer.
type heard struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Length  int64
	Chunked []string
	Body    string
	Close   bool
	Failed  bool
}

// exchange sends bytes and returns all that is answered until the server closes the connection.
func exchange(t testing.TB, conn net.Conn, sent []byte, methods []string) []heard {
	t.Helper()
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	reader := bufio.NewReader(conn)
	var answers []heard
	for i := 0; ; i++ {
		method := http.MethodGet
		if i < len(methods) {
			method = methods[i]
		}
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("no end of the answers to %q", sent)
			}
			return answers
		}
		body, err := io.ReadAll(response.Body)
		response.Header.Del("Date")
		if response.StatusCode >= 400 {
			body = nil // each says it in its own words
		}
		answers = append(answers, heard{
			response.StatusCode, response.Header, response.Trailer, response.ContentLength, response.TransferEncoding, string(body), response.Close, err != nil,
		})
	}
}

// noted is what a handler saw of a request.
type noted struct {
	Method, URI, Host, Proto string
	URL                      url.URL
	Header                   http.Header
	Length                   int64
	Encoding                 []string
	Close                    bool
	Body                     string
	BodyErr                  bool
}

// notebook is a handler that writes down what it gets, and answers as it is told by the path.
type notebook struct {
	mu    sync.Mutex
	pages []noted
}

func (n *notebook) take() []noted {
	n.mu.Lock()
	defer n.mu.Unlock()
	pages := n.pages
	n.pages = nil
	return pages
}

func (n *notebook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := noted{
		Method: r.Method, URI: strings.Clone(r.RequestURI), Host: r.Host, Proto: r.Proto, URL: *r.URL, Header: r.Header.Clone(), Length: r.ContentLength,
		Encoding: r.TransferEncoding, Close: r.Close,
	}
	if !strings.HasPrefix(r.URL.Path, "/unread") {
		body, err := io.ReadAll(r.Body)
		page.Body, page.BodyErr = string(body), err != nil
	}
	n.mu.Lock()
	n.pages = append(n.pages, page)
	n.mu.Unlock()
	answer(w, r.URL.Path)
}

// answer answers in one of many ways.
func answer(w http.ResponseWriter, path string) {
	w.Header()["Content-Type"] = nil // ours guesses none
	switch path {
	case "/nothing":
	case "/empty":
		w.WriteHeader(http.StatusNoContent)
	case "/unmodified":
		w.Header().Set("ETag", `"a"`)
		w.WriteHeader(http.StatusNotModified)
		_, _ = io.WriteString(w, "no")
	case "/long":
		_, _ = w.Write(bytes.Repeat([]byte("0123456789"), 5000))
	case "/parts":
		for i := range 40 {
			_, _ = fmt.Fprintf(w, "part %d %s\n", i, strings.Repeat("x", 100*i))
		}
	case "/flushed":
		_, _ = io.WriteString(w, "one")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "two")
	case "/announced":
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello, world")
	case "/announced/whole":
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
	case "/short":
		w.Header().Set("Content-Length", "50")
		_, _ = io.WriteString(w, "hello")
	case "/trailers":
		w.Header().Set("Trailer", "X-One")
		_, _ = io.WriteString(w, "hello")
		w.Header().Set("X-One", "1")
		w.Header().Set(http.TrailerPrefix+"X-Two", "2")
	case "/close":
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "bye")
	case "/early":
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK)
	case "/odd":
		w.Header()["X-Odd"] = []string{"a\r\nX-Split: b", "c"}
		w.Header()["bad name"] = []string{"a"}
		w.WriteHeader(299)
	case "/abort":
		panic(http.ErrAbortHandler)
	case "/abort/late":
		_, _ = io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	default:
		_, _ = io.WriteString(w, "hello")
	}
}

var paths = []string{
	"/", "/nothing", "/empty", "/unmodified", "/long", "/parts", "/flushed", "/announced", "/announced/whole", "/short", "/trailers", "/close", "/early", "/odd", "/abort",
	"/abort/late", "/unread",
}

func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			for _, body := range []string{"", "Content-Length: 0\r\n\r\n", "Content-Length: 5\r\n\r\nhello", "Content-Length: 9000\r\n\r\n" + strings.Repeat("y", 9000)} {
				if body == "" {
					body = "\r\n"
				}
				t.Run(fmt.Sprintf("%s %s %.20q", method, path, body), func(t *testing.T) {
					handedOver := false
					standardly, ours := both(t, &notebook{}, func() { handedOver = true })
					sent := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: app\r\n%s", method, path, body)
					sent = append(sent, "GET /next HTTP/1.1\r\nhost: app\r\nConnection: close\r\n\r\n"...)
					want := exchange(t, standardly(t), sent, []string{method})
					got := exchange(t, ours(t), sent, []string{method})
					if diff := cmp.Diff(got, want); diff != "" {
						t.Errorf("got -, want + of what is answered:\n%s", diff)
					}
					if handedOver {
						t.Error("it was handed over")
					}
				})
			}
		}
	}
}

var seeds = []string{
	"GET / HTTP/1.1\r\nHost: app\r\n\r\n",
	"GET /a?b=c&d HTTP/1.1\r\nHOST: app:80\r\nAccept: */*\r\naccept: text/html\r\nX_odd: a\r\nCookie: a=b\r\nCookie: c=d\r\n\r\nGET /b? HTTP/1.1\r\nHost: app\r\n\r\n",
	"GET /%61//b/../c;d HTTP/1.1\r\nHost: [::1]:80\r\nconnection: Keep-Alive\r\n\r\n",
	"POST /x HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: app\r\nConnection: CLOSE\r\n\r\nGET / HTTP/1.1\r\nHost: app\r\n\r\n",
	"POST /unread HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: app\r\n\r\n",
	"GET / HTTP/1.1\nHost: app\n\n", "GET / HTTP/1.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: app\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: \r\n\r\n", "GET http://a/b HTTP/1.1\r\nHost: c\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
	"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: \r y\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
	"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\xc3\xa9?\xc3\xa9 HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n",
	"POST /0 HTTP/1.1\r\nHost:0000\r\n\r\n\r0 * HTTP/0.0\r\n0000:\n\r\n",
	"GET /a??b?c HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX:\t a\tb \t\r\nx: \r\nX:\r\n\r\n",
}

// isMalformed says whether an answer is net/http's to what is no request. Whether one is given to half a request that nothing follows depends on
// what came before it.
func isMalformed(answer heard) bool { return answer.Status == http.StatusBadRequest }

// Whatever bytes arrive: the handler sees the requests that it would see behind net/http, and the caller hears the same of them.
func FuzzRequestsAreReadAsByNetHTTP(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	var standardNotes, ourNotes notebook
	standardly, _ := both(f, &standardNotes, func() {})
	_, ours := both(f, &ourNotes, func() {})
	f.Fuzz(func(t *testing.T, sent []byte) {
		want := slices.DeleteFunc(exchange(t, standardly(t), sent, nil), isMalformed)
		got := slices.DeleteFunc(exchange(t, ours(t), sent, nil), isMalformed)
		wantNotes, gotNotes := standardNotes.take(), ourNotes.take()
		if diff := cmp.Diff(gotNotes, wantNotes); diff != "" {
			t.Errorf("got -, want + of what the handler saw of %q:\n%s", sent, diff)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("got -, want + of what is answered to %q:\n%s", sent, diff)
		}
	})
}

func TestPlainRequestsAreServedHere(t *testing.T) {
	for _, sent := range seeds[:5] {
		handedOver := false
		_, ours := both(t, &notebook{}, func() { handedOver = true })
		if exchange(t, ours(t), []byte(sent), nil); handedOver {
			t.Errorf("%q was handed over", sent)
		}
	}
}
