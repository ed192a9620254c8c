package sidecar_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// rawApp answers each request that it reads with what answer writes.
func (w *world) rawApp(answer func(conn net.Conn, r *http.Request) (again bool)) {
	listener, err := net.Listen("tcp", w.appIP+":"+port)
	check(w, err)
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
					if !answer(conn, r) {
						return
					}
				}
			})
		}
	})
	w.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		ended.Wait()
	})
}

// One caller's request makes the app say too much. The next caller, of another connection, must not get that for an answer.
func TestWhatAnAppSaysTooMuchIsNobodysAnswer(t *testing.T) {
	w := newWorld(t)
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nSet-Cookie: session=mallory\r\n\r\nPOISON"
	w.rawApp(func(conn net.Conn, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/public/attack" {
			// An app that counts characters where bytes are due.
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n"+strings.Repeat("x", 20000)+poison)
			return true
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
		return true
	})
	w.mount(w.bundle())
	w.start()
	poisoned := 0
	for range 20 {
		mallory := w.dial()
		_, err := io.WriteString(mallory, "GET /public/attack HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		check(t, err)
		_, _ = io.Copy(io.Discard, mallory)
		alice := w.do("GET", "/private", w.token("alice", nil))
		if alice.Body != "right" {
			poisoned++
		}
	}
	if poisoned > 0 {
		t.Errorf("%d of 20 answers to alice were mallory's", poisoned)
	}
}

// A caller who pipelines and takes no answer is cut off.
func TestCallerWhoPipelinesAndTakesNothingIsCutOff(t *testing.T) {
	w := newWorld(t)
	w.rawApp(func(conn net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 7000\r\n\r\n"+strings.Repeat("x", 7000))
		return true
	})
	b := w.bundle()
	b.Limits.StallTimeout = time.Second
	b.Limits.IdleTimeout = 2 * time.Second
	w.mount(b)
	w.start()
	c := w.dial()
	check(t, c.(*net.TCPConn).SetReadBuffer(4096))
	check(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	began := time.Now()
	line := []byte("GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
	batch := bytes.Repeat(line, 100)
	for {
		if _, err := c.Write(batch); err != nil {
			t.Logf("after %v: %v", time.Since(began), err)
			if time.Since(began) > 15*time.Second {
				t.Error("a caller who takes no answer keeps the connection for ever")
			}
			return
		}
	}
}

// As TestCallerWhoPipelinesAndTakesNothingIsCutOff, with answers that are short, whoever gives them and whoever reads the requests.
func TestCallerWhoTakesNoShortAnswerIsCutOff(t *testing.T) {
	w := newWorld(t)
	service := w.newTokenService()
	service.answer = func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, 30<<10)) }
	service.serve()
	links := "Link: <" + strings.Repeat("x", 7000) + ">\r\n\r\n" // so that few answers are all that a kernel takes for a caller
	hint := "HTTP/1.1 103 Early Hints\r\n" + links
	w.rawApp(func(conn net.Conn, r *http.Request) bool {
		hints := 0
		if r.URL.Path == "/public/hints" {
			hints = 5
		}
		_, err := io.WriteString(conn, strings.Repeat(hint, hints)+"HTTP/1.1 204 No Content\r\n"+links)
		return err == nil
	})
	b := service.in(w.bundle())
	b.Limits.StallTimeout = time.Second
	w.mount(b)
	w.start("--log-level=error")
	const byNetHTTP = "Keep-Alive: 5\r\n"
	for name, request := range map[string]string{
		"the sidecar's":                         "GET /closed HTTP/1.1\r\nHost: a\r\n",
		"the sidecar's, over net/http":          "GET /closed HTTP/1.1\r\nHost: a\r\n" + byNetHTTP,
		"the app's, over net/http":              "GET /public HTTP/1.1\r\nHost: a\r\n" + byNetHTTP,
		"the app's interim ones":                "GET /public/hints HTTP/1.1\r\nHost: a\r\n",
		"the app's interim ones, over net/http": "GET /public/hints HTTP/1.1\r\nHost: a\r\n" + byNetHTTP,
		"the token service's":                   "GET /auth/.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n",
		"the token service's, over net/http":    "GET /auth/.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n" + byNetHTTP,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", w.podIP+":"+port)
			check(t, err)
			defer c.Close()
			check(t, c.(*net.TCPConn).SetReadBuffer(256<<10))
			check(t, c.SetDeadline(time.Now().Add(patience)))
			for batch := bytes.Repeat([]byte(request+"\r\n"), 100); err == nil; {
				_, err = c.Write(batch)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("got the connection kept, want it closed")
			}
		})
	}
}

// As a drain begins, an answer has begun. Its end is the end of the drain, though the caller keeps the connection.
func TestDrainEndsWithAnAnswerThatHadBegun(t *testing.T) {
	w := newWorld(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "6")
		_, _ = io.WriteString(rw, "one")
		rw.(http.Flusher).Flush()
		close(begun)
		<-goOn
		_, _ = io.WriteString(rw, "two")
	}))
	w.mount(w.bundle())
	w.start("--drain=15s")
	c := w.dial()
	check(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err := io.WriteString(c, "GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
	check(t, err)
	<-begun
	reader := bufio.NewReader(c)
	response, err := http.ReadResponse(reader, nil)
	check(t, err)
	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	w.eventually("the sidecar drains", func() bool { return w.admin("/readyz").Status == 503 })
	<-time.After(1500 * time.Millisecond) // farewell
	close(goOn)
	body, err := io.ReadAll(response.Body)
	if string(body) != "onetwo" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	check(t, <-stopped)
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the drain took %v, want it to end with the last answer", took)
	}
	if strings.Contains(w.log.String(), "cut off") {
		t.Error("the log says that requests were cut off")
	}
}

// A caller of an endless stream who goes is gone for the app too, also when a byte of the next request had come.
func TestStreamWhoseCallerHasGoneEnds(t *testing.T) {
	for _, extra := range []string{"", "G"} {
		t.Run("extra "+extra, func(t *testing.T) {
			w := newWorld(t)
			noticed := make(chan struct{})
			w.serveApp(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream")
				for {
					select {
					case <-r.Context().Done():
						close(noticed)
						return
					case <-time.After(20 * time.Millisecond):
					}
					if _, err := io.WriteString(rw, "data: x\n\n"); err != nil {
						close(noticed)
						return
					}
					rw.(http.Flusher).Flush()
				}
			}))
			w.mount(w.bundle())
			w.start()
			c := w.dial()
			_, err := io.WriteString(c, "GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
			check(t, err)
			_, err = io.ReadFull(c, make([]byte, 100))
			check(t, err)
			_, err = io.WriteString(c, extra)
			check(t, err)
			<-time.After(50 * time.Millisecond)
			c.Close()
			select {
			case <-noticed:
			case <-time.After(5 * time.Second):
				t.Errorf("the app streams on to nobody")
			}
		})
	}
}

// Requests come to their end while the process does. It ends all the same, though the app has hung.
func TestProcessEndsThoughRequestsComeWithTheEndOfItsDrain(t *testing.T) {
	w := newWorld(t)
	hang := make(chan struct{})
	w.rawApp(func(conn net.Conn, r *http.Request) bool {
		if r.URL.Path == "/public/hang" {
			<-hang
			return false
		}
		<-time.After(50 * time.Millisecond) // so that there are many connections
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")
		return true
	})
	w.mount(w.bundle())
	w.start("--drain=1s")
	const callers = 500
	var group, warm sync.WaitGroup
	drains := make(chan time.Time)
	var began time.Time
	for i := range callers {
		warm.Add(1)
		group.Go(func() {
			c, err := net.Dial("tcp", w.podIP+":"+port)
			if err != nil {
				warm.Done()
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "GET /public/fast HTTP/1.1\r\nHost: a\r\n\r\n")
			response, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
			}
			_, _ = io.WriteString(c, "GET /public/hang HTTP/1.1\r\nHost: a\r\n\r")
			warm.Done()
			<-drains
			<-time.After(time.Until(began.Add(1000*time.Millisecond + time.Duration(i)*120*time.Millisecond/callers)))
			_, _ = io.WriteString(c, "\n")
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.Copy(io.Discard, c)
		})
	}
	warm.Wait()
	began = time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	close(drains)
	select {
	case <-stopped:
		t.Logf("stopped after %v", time.Since(began))
		close(hang)
	case <-time.After(8 * time.Second):
		t.Error("the process does not end before the app does")
		close(hang)
		<-stopped
	}
	group.Wait()
}
