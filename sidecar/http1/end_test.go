package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/sidecar/http1"
)

// tcpApp answers on each connection one request after the other with what answer says.
func tcpApp(t *testing.T, answer func(conn net.Conn, r *http.Request)) (dial func(context.Context) (net.Conn, error)) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var ended sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	ended.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			ended.Go(func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					answer(conn, r)
				}
			})
		}
	})
	t.Cleanup(func() {
		check(t, listener.Close())
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		ended.Wait()
	})
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", listener.Addr().String())
	}
}

func ask(client *http1.Client, method, path string) (int, string, error) {
	var call http1.Call
	r := request(method, "")
	r.URL.Path = path
	begin(&call, client, r)
	answer, err := call.Send(context.Background(), nil, func(int, http.Header) {})
	if err != nil {
		return 0, "", err
	}
	w := &recorder{header: http.Header{}}
	err = call.Copy(w)
	return answer.Status, w.String(), err
}

const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"

// What an app sends beyond an answer is never the answer to another request.
func TestWhatAnAppSendsBeyondAnAnswerIsNobodysAnswer(t *testing.T) {
	for name, attack := range map[string]func(conn net.Conn, sent chan struct{}){
		"HEAD with a body in the next packet": func(conn net.Conn, sent chan struct{}) {
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(poison))
			<-time.After(20 * time.Millisecond)
			_, _ = io.WriteString(conn, poison)
			close(sent)
		},
		"204 with a body in the next packet": func(conn net.Conn, sent chan struct{}) {
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			<-time.After(20 * time.Millisecond)
			_, _ = io.WriteString(conn, poison)
			close(sent)
		},
		"a Content-Length that is too small, all in one write": func(conn net.Conn, sent chan struct{}) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("x", 20000)+poison)
			close(sent)
		},
		"chunked, ends where the buffer ends": func(conn net.Conn, sent chan struct{}) {
			head := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			tail := "\r\n0\r\n\r\n"
			n := 4096 - len(head) - len(tail) - len("fff\r\n")
			body := head + fmt.Sprintf("%03x\r\n", n) + strings.Repeat("x", n) + tail
			if len(body) != 4096 {
				panic(len(body))
			}
			// the garbage fills what is left of the 8 KiB, and then comes the poison
			_, _ = io.WriteString(conn, body+strings.Repeat("g", 4096)+poison)
			close(sent)
		},
	} {
		t.Run(name, func(t *testing.T) {
			sent := make(chan struct{})
			dial := tcpApp(t, func(conn net.Conn, r *http.Request) {
				if r.URL.Path == "/attack" {
					attack(conn, sent)
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
			})
			client := http1.NewClient(dial, time.Minute)
			defer client.Close()
			method := "GET"
			if strings.HasPrefix(name, "HEAD") {
				method = "HEAD"
			}
			if _, _, err := ask(client, method, "/attack"); err != nil {
				t.Logf("attack: %v", err)
			}
			<-sent
			<-time.After(20 * time.Millisecond)
			_, body, err := ask(client, "GET", "/victim")
			if err != nil || body != "right" {
				t.Errorf("the next caller got %q, %v, want the answer to its own request", body, err)
			}
		})
	}
}

// A connection that is brought after Close is closed.
func TestConnectionThatComesAfterTheEndIsClosed(t *testing.T) {
	server := http1.NewServer(context.Background(), &notebook{}, func(c net.Conn) { _ = c.Close() }, limits)
	near, far := pair(t)
	defer near.Close()
	server.Close()
	ended := make(chan struct{})
	go func() { server.Serve(far); close(ended) }()
	select {
	case <-ended:
	case <-time.After(3 * time.Second):
		t.Error("a connection that came with the end of the server is served for ever")
		_ = near.Close()
		<-ended
	}
}

// A connection whose answer had begun when the shutdown did is closed after it.
func TestShutdownEndsWithTheLastAnswer(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	server := http1.NewServer(context.Background(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		w.(http.Flusher).Flush()
		close(begun)
		<-goOn
		_, _ = io.WriteString(w, "two")
	}), func(c net.Conn) { _ = c.Close() }, limits)
	near, far := pair(t)
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(far) })
	_, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	check(t, err)
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- server.Shutdown(ctx) }()
	<-time.After(100 * time.Millisecond) // so that it waits
	close(goOn)
	response, err := http.ReadResponse(bufio.NewReader(near), nil)
	check(t, err)
	body, _ := io.ReadAll(response.Body)
	if string(body) != "onetwo" {
		t.Errorf("got %q", body)
	}
	began := time.Now()
	if err := <-down; err != nil {
		t.Errorf("got %v after %v, though all was answered", err, time.Since(began))
	}
	_ = near.Close()
	serving.Wait()
}

// Two who wait for the end both hear of it.
func TestAllWhoWaitForTheShutdownHearOfIt(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	server := http1.NewServer(context.Background(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-goOn
	}), func(c net.Conn) { _ = c.Close() }, limits)
	near, far := pair(t)
	defer near.Close()
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(far) })
	_, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	check(t, err)
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	down := make(chan error, 2)
	for range 2 {
		go func() { down <- server.Shutdown(ctx) }()
	}
	<-time.After(100 * time.Millisecond) // so that it waits
	close(goOn)
	serving.Wait()
	for range 2 {
		if err := <-down; err != nil {
			t.Errorf("got %v, though no connection is left", err)
		}
	}
}

// A handler sees nothing of the request before.
func TestNothingIsLeftOfTheRequestBefore(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s %s %s %d;", r.FormValue("who"), r.RemoteAddr, r.Pattern, len(r.Trailer))
		r.RemoteAddr = "changed"
		r.Pattern = "p"
		r.Trailer = http.Header{"X": nil}
	})
	standardly, ours := both(t, handler, func() {})
	sent := []byte("GET /?who=alice HTTP/1.1\r\nHost: a\r\n\r\nGET /?who=bob HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	var want, got bytes.Buffer
	for _, a := range exchange(t, standardly(t), sent, nil) {
		want.WriteString(a.Body)
	}
	for _, a := range exchange(t, ours(t), sent, nil) {
		got.WriteString(a.Body)
	}
	if got.String() != want.String() {
		t.Errorf("got %q, want %q", got.String(), want.String())
	}
}

// A call whose context has ended ends.
func TestCallWhoseContextHasEndedEnds(t *testing.T) {
	hang := make(chan struct{})
	dial := tcpApp(t, func(conn net.Conn, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-hang
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
	})
	client := http1.NewClient(dial, time.Minute)
	defer client.Close()
	_, _, err := ask(client, "GET", "/")
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var call http1.Call
	r := request("GET", "")
	r.URL.Path = "/hang"
	begin(&call, client, r)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = call.Send(ctx, nil, func(int, http.Header) {})
	}()
	select {
	case <-ended:
	case <-time.After(3 * time.Second):
		t.Error("it waits for the app")
	}
	close(hang)
	call.Cancel(errors.New("enough"))
	<-ended
}

// How much of a body is left is looked at while another goroutine reads it. For -race.
func TestBodyMayBeReadWhileItIsAnswered(t *testing.T) {
	_, ours := both(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := make(chan struct{})
		go func() {
			b := make([]byte, 10)
			_, _ = r.Body.Read(b)
			close(began)
			_, _ = io.Copy(io.Discard, r.Body)
		}()
		<-began
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(w, "early")
	}), func() {})
	exchange(t, ours(t), []byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"+strings.Repeat("x", 200000)), nil)
}

// net/http forgives a client who sends an empty line after the body of a POST.
func TestEmptyLineAfterAPOSTIsForgiven(t *testing.T) {
	standardly, ours := both(t, &notebook{}, func() {})
	sent := []byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	want, got := exchange(t, standardly(t), sent, nil), exchange(t, ours(t), sent, nil)
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || got[i].Status != want[i].Status {
			t.Errorf("got %+v\nwant %+v", got, want)
			break
		}
	}
}
