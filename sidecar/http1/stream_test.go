package http1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/sidecar/http1"
)

// part is what an app writes at a time, and what of the body is in it.
type part struct{ sent, body string }

const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"

var (
	long   = strings.Repeat("long", 5000)
	stream = []part{
		{streamHead + "Transfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n", ""},
		{"5\r\nhello\r\n", "hello"}, {"5\r\nhel", ""}, {"lo", "hello"}, {"\r", ""}, {"\n", ""}, {"0", ""}, {"6;x=y\r", ""}, {"\n world", " world"}, {"\r\n", ""},
		{"1\r\na\r\n1\r\nb\r\n2", "ab"}, {"\r\ncd", "cd"}, {"\r\n4e20\r\n" + long, long}, {"\r\n1\r\n", ""}, {"e\r\n", "e"},
		{"0\r\n", ""}, {"X-End: 1\r\n", ""}, {"\r\n", ""},
	}
)

// relay has what it is asked answered by an app that writes the parts that it is sent, up to an empty one.
func relay(t *testing.T) (connect func(testing.TB) net.Conn, parts chan string) {
	parts = make(chan string)
	client := http1.NewClient(tcpApp(t, func(conn net.Conn, _ *http.Request) {
		for each := range parts {
			if each == "" {
				return
			}
			_, _ = io.WriteString(conn, each)
		}
		_ = conn.Close()
	}), time.Minute)
	_, connect = both(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body []byte
		if posted, ok := r.Body.(*http1.Body); ok {
			body, _ = posted.Whole()
		}
		var call http1.Call
		begin(&call, client, r)
		answer, err := call.Send(r.Context(), body, func(int, http.Header) {})
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		answer.AddTo(w.Header())
		for _, name := range answer.Trailer {
			w.Header().Add("Trailer", name)
		}
		w.WriteHeader(answer.Status)
		if call.Copy(w) != nil {
			panic(http.ErrAbortHandler)
		}
	}), func() { t.Error("it was handed over") })
	t.Cleanup(func() {
		close(parts)
		client.Close()
	})
	return connect, parts
}

// Wherever a stream pauses, all chunks that were sent have arrived; and when it has ended, the connections on both sides go on.
func TestStreamThatPausesArrivesAsItIsSent(t *testing.T) {
	get, post := "GET / HTTP/1.1\r\nHost: app\r\n\r\n", "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello"
	for name, sent := range map[string][]string{
		"one request after the other":              {get, post, get},
		"a request before the answer to the other": {get + post + get, "", ""},
		"half a request before the answer":         {post + get[:7], get[7:] + post[:50], post[50:]},
	} {
		t.Run(name, func(t *testing.T) {
			connect, parts := relay(t)
			conn := connect(t)
			defer conn.Close()
			check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
			reader := bufio.NewReader(conn)
			for _, each := range sent {
				_, err := io.WriteString(conn, each)
				check(t, err)
				parts <- stream[0].sent
				response, err := http.ReadResponse(reader, nil)
				check(t, err)
				for _, each := range stream[1:] {
					parts <- each.sent
					got := make([]byte, len(each.body))
					if _, err = io.ReadFull(response.Body, got); err != nil || string(got) != each.body {
						t.Fatalf("got %.50q, %v after %.50q, want %.50q", got, err, each.sent, each.body)
					}
				}
				rest, err := io.ReadAll(response.Body)
				if diff := cmp.Diff(response.Trailer, http.Header{"X-End": {"1"}}); len(rest) > 0 || err != nil || diff != "" {
					t.Errorf("got %q, %v at the end, and trailers -, want +:\n%s", rest, err, diff)
				}
				parts <- ""
			}
		})
	}
}

// Who asks for the head alone does not wait for a body, though the app keeps the connection.
func TestHeadOfAStreamHasNoBodyToWaitFor(t *testing.T) {
	connect, parts := relay(t)
	conn := connect(t)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	for range 2 {
		_, err := io.WriteString(conn, "HEAD / HTTP/1.1\r\nHost: app\r\n\r\n")
		check(t, err)
		parts <- stream[0].sent
		response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodHead})
		check(t, err)
		if response.StatusCode != http.StatusOK {
			t.Errorf("got %s", response.Status)
		}
		parts <- ""
	}
}

// told tells of what is written.
type told struct {
	*recorder
	writes chan string
}

func (w told) Write(p []byte) (int, error) {
	w.writes <- string(p)
	return len(p), nil
}

// A stream that says nothing ends when the call is cancelled, and with the connection.
func TestStreamThatSaysNothingEnds(t *testing.T) {
	enough := errors.New("enough")
	for _, test := range []struct {
		name   string
		answer string
		cancel error // nil: the app closes the connection
		want   error
	}{
		{"cancelled", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", enough, enough},
		{"cancelled within the end of a chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r", enough, enough},
		{"cut off", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", nil, io.ErrUnexpectedEOF},
		{"ended by the connection", "\r\nhello", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			near, far := pair(t)
			defer far.Close()
			client := http1.NewClient(func(context.Context) (net.Conn, error) { return near, nil }, time.Minute)
			defer client.Close()
			answered := make(chan error, 1)
			go func() {
				_, err := http.ReadRequest(bufio.NewReader(far))
				if err == nil {
					_, err = io.WriteString(far, streamHead+test.answer)
				}
				answered <- err
			}()
			var call http1.Call
			begin(&call, client, request("GET", ""))
			_, err := call.Send(context.Background(), nil, func(int, http.Header) {})
			check(t, errors.Join(err, <-answered))
			w, ended := told{&recorder{header: http.Header{}}, make(chan string, 9)}, make(chan error, 1)
			go func() { ended <- call.Copy(w) }()
			if got := <-w.writes; got != "hello" {
				t.Errorf("got %q, want what the app said", got)
			}
			if call.Cancel(test.cancel); test.cancel == nil {
				check(t, far.Close())
			}
			if got := <-ended; !errors.Is(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
