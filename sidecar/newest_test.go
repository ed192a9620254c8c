package sidecar_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// The sidecar's own ports are open to everybody who reaches the pod, and have no limits in the policy.
func TestOwnPortsKeepTheNewestConnections(t *testing.T) {
	w := newWorld(t)
	w.serveApp(http.HandlerFunc(echo))
	w.start(`--probe=app/liveness={"protocol":"tcp","port":8080}`)
	for address, path := range map[string]string{w.podIP + ":15020": "/healthz", w.podIP + ":15021": "/app/liveness", w.appIP + ":15020": "/decisions"} {
		t.Run(address, func(t *testing.T) {
			dial := func() net.Conn {
				conn, err := net.Dial("tcp", address)
				check(t, err)
				t.Cleanup(func() { conn.Close() })
				check(t, conn.SetDeadline(time.Now().Add(patience)))
				return conn
			}
			ask := func(conn net.Conn) {
				_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
				check(t, err)
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				check(t, err)
				if response.StatusCode != http.StatusOK {
					t.Errorf("got %s, want 200", response.Status)
				}
			}
			first := dial()
			ask(first) // it is kept alive, for minutes
			for range 300 {
				dial()
			}
			if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("got %v on the first connection, want its end", err)
			}
			ask(dial())
		})
	}
}
