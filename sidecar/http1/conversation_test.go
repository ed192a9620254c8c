package http1_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// choppy writes in parts.
type choppy struct {
	net.Conn
	r *rand.Rand
}

func (c choppy) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		n := min(len(p), 1+c.r.IntN(1+c.r.IntN(1+c.r.IntN(12000))))
		if _, err := c.Conn.Write(p[:n]); err != nil {
			return 0, err
		}
		p = p[n:]
		if c.r.IntN(3) == 0 {
			<-time.After(time.Duration(c.r.IntN(300)) * time.Microsecond)
		}
	}
	return all, nil
}

func (c choppy) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func conversation(r *rand.Rand) (sent []byte, methods []string) {
	for range 1 + r.IntN(6) {
		method := pick(r, "GET", "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", pick(r, "GET", "GET", "BREW"))
		path := pick(r, paths...)
		if r.IntN(4) == 0 {
			path += pick(r, "?a=b", "?", "%2f", "//x", ";a", "?a=%zz", "/é", "#f", "?a b", "/..")
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s HTTP/1.%s\r\n", method, path, pick(r, "1", "1", "1", "1", "1", "1", "1", pick(r, "0", "1", "1")))
		fmt.Fprintf(&b, "%s: %s\r\n", pick(r, "Host", "host", "HOST"), pick(r, "app", "app:80", "[::1]:8", "a_b", "app"))
		for range r.IntN(5) {
			b.WriteString(pick(r, "Accept: */*\r\n", "accept: text/html\r\n", "Cookie: a=b\r\n", "X-Long: "+strings.Repeat("l", r.IntN(3000))+"\r\n", "X_y: \t a \t\r\n",
				"Connection: keep-alive\r\n", "X:\r\n"))
			if r.IntN(30) == 0 {
				b.WriteString(pick(r, "Pragma: no-cache\r\n", "Te: trailers\r\n", "Keep-Alive: 5\r\n"))
			}
		}
		if r.IntN(12) == 0 {
			b.WriteString("Connection: close\r\n")
		}
		if r.IntN(40) == 0 {
			for i := range 70 {
				fmt.Fprintf(&b, "X-%d: y\r\n", i)
			}
		}
		switch r.IntN(20) {
		case 0, 1, 2, 4, 5, 6, 7:
			n := pick(r, 0, 1, 5, 100, 4096, 8192, 9000, 30000, 300000)
			fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", n, strings.Repeat("b", n))
		case 3:
			b.WriteString("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
		default:
			b.WriteString("\r\n")
		}
		methods = append(methods, method)
		switch r.IntN(120) {
		case 0:
			b.WriteString(pick(r, "x", "GET / HTTP/1.1\r\n"))
		case 1:
			b.WriteString("GET / HTTP/1.1\nHost: a\n\n")
			methods = append(methods, "GET")
		}
		sent = append(sent, b.String()...)
	}
	return sent, methods
}

// Whatever a caller says over one connection, in whatever pieces it arrives: it is the same with net/http.
func FuzzConversationsAreThoseWithNetHTTP(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed)
	}
	var standardNotes, ourNotes notebook
	standardly, _ := both(f, &standardNotes, func() {})
	_, ours := both(f, &ourNotes, func() {})
	f.Fuzz(func(t *testing.T, seed uint64) {
		sent, methods := conversation(rand.New(rand.NewPCG(seed, 0)))
		want := slices.DeleteFunc(converse(t, choppy{standardly(t), rand.New(rand.NewPCG(seed, 1))}, sent, methods), isMalformed)
		got := slices.DeleteFunc(converse(t, choppy{ours(t), rand.New(rand.NewPCG(seed, 1))}, sent, methods), isMalformed)
		wantNotes, gotNotes := standardNotes.take(), ourNotes.take()
		if diff := cmp.Diff(gotNotes, wantNotes); diff != "" {
			t.Errorf("got -, want + of what the handler saw of %.3000q:\n%.3000s", sent, diff)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("got -, want + of what is answered to %.3000q:\n%.3000s", sent, diff)
		}
	})
}

// converse is exchange, but that interim answers are to no request of their own.
func converse(t testing.TB, conn net.Conn, sent []byte, methods []string) []heard {
	t.Helper()
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = conn.Write(sent)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	defer func() { conn.Close(); <-written }()
	reader := bufio.NewReader(conn)
	var answers []heard
	for i := 0; ; {
		method := http.MethodGet
		if i < len(methods) {
			method = methods[i]
		}
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("no end of the answers to %.2000q", sent)
			}
			return answers
		}
		if response.StatusCode >= 200 {
			i++
		}
		body, err := io.ReadAll(response.Body)
		response.Header.Del("Date")
		if response.StatusCode >= 400 {
			body = nil // each says it in its own words
		}
		endsItself := response.ContentLength >= 0 || response.TransferEncoding != nil
		answers = append(answers, heard{
			response.StatusCode, response.Header, response.Trailer, response.ContentLength, response.TransferEncoding, string(body), response.Close, err != nil && endsItself,
		})
	}
}
