package sidecar_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

// dialWebSocket is a real client's handshake.
func (w *world) dialWebSocket(token string) *websocket.Conn {
	w.Helper()
	connection, response, err := websocket.DefaultDialer.Dial("ws://"+w.podIP+":"+port+"/socket", http.Header{"Authorization": {"Bearer " + token}})
	check(w, err)
	response.Body.Close()
	w.Cleanup(func() { connection.Close() })
	check(w, connection.SetReadDeadline(time.Now().Add(patience)))
	return connection
}

// speaks is an app that takes any WebSocket and says these bytes, in pieces of so many, then nothing more.
func speaks(said []byte, piece int) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{}
		connection, err := upgrader.Upgrade(rw, r, nil)
		if err != nil {
			panic(err)
		}
		defer connection.Close()
		for rest := said; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			_, _ = connection.NetConn().Write(rest[:min(piece, len(rest))])
		}
		_, _ = io.Copy(io.Discard, connection.NetConn())
	})
}

// frame is one of an app's, with so much payload.
func frame(size int) []byte {
	const final, text = 0x80, 0x1
	head := []byte{final | text}
	switch {
	case size < 126:
		head = append(head, byte(size))
	case size <= 0xffff:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(size))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(size))
	}
	return append(head, bytes.Repeat([]byte("x"), size)...)
}

func TestWebSocketIsToldWhyItEndsBehindWhateverTheAppHasSaid(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 127, 4096, 0xffff, 0x10000, 200_000}
	var said []byte
	for _, size := range sizes {
		said = append(said, frame(size)...)
	}
	for name, piece := range map[string]int{"at once": len(said), "in pieces": 4093, "in small pieces": 7} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serveApp(speaks(said, piece))
			service := w.newTokenService()
			w.mount(service.in(w.bundle()))
			service.serve()
			w.start()
			w.waitFollowed()
			connection := w.dialWebSocket(w.token("alice", nil))
			for _, size := range sizes {
				_, message, err := connection.ReadMessage()
				check(t, err)
				if len(message) != size {
					t.Fatalf("got a message of %d bytes, want %d", len(message), size)
				}
			}
			service.revoke("session-of-alice")
			w.wantFarewell(connection, websocket.ClosePolicyViolation, "revoked")
			w.waitEnded("revoked", "alice")
		})
	}
}

func (w *world) wantFarewell(connection *websocket.Conn, code int, reason string) {
	w.Helper()
	_, _, err := connection.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || closed.Text != reason {
		w.Errorf("got %v, want the code %d with the reason %q", err, code, reason)
	}
}

// A caller who talks all the while must not lose what it is told to a reset.
func TestWebSocketOfATalkativeCallerIsToldWhyItEnds(t *testing.T) {
	w := newWorld(t)
	w.serveApp(speaks(frame(5), 100))
	w.mount(w.bundle())
	w.start()
	connection := w.dialWebSocket(w.token("alice", map[string]any{"exp": time.Now().Add(2 * time.Second).Unix()}))
	talked := make(chan struct{})
	go func() {
		defer close(talked)
		for connection.WriteMessage(websocket.BinaryMessage, bytes.Repeat([]byte("x"), 10_000)) == nil {
		}
	}()
	_, _, err := connection.ReadMessage()
	check(t, err)
	w.wantFarewell(connection, websocket.ClosePolicyViolation, "expired")
	connection.Close()
	<-talked
}

// What the policy does not tell callers it does not tell them here.
func TestWebSocketThatANewPolicyRefusesIsToldNoMoreThanOthers(t *testing.T) {
	w := newWorld(t)
	w.serveApp(speaks(frame(5), 100))
	w.mount(w.bundle())
	w.start()
	connection := w.dialWebSocket(w.token("alice", nil))
	_, _, err := connection.ReadMessage()
	check(t, err)
	b := w.bundle()
	b.Policy.Rules, b.Policy.Default = []policy.Rule{{Paths: []policy.Path{{Prefix: "/other"}}}}, policy.AccessDeny
	w.mount(b)
	w.wantFarewell(connection, websocket.ClosePolicyViolation, "denied") // no_rule, to those who run the policy
}

// Where no frame can be put in, the end is the end of the connection.
func TestWebSocketIsCutWhereTheAppHasNotEndedItsFrame(t *testing.T) {
	masked := frame(5)
	masked[1] |= 0x80
	for name, said := range map[string][]byte{
		"in a header":             {0x81},
		"in a longer header":      {0x81, 127, 0, 0},
		"in a payload":            frame(10)[:7],
		"behind its own farewell": {0x88, 2, 0x03, 0xe8},
		"in what is no frame":     masked,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serveApp(speaks(said, 100))
			w.mount(w.bundle())
			w.start()
			connection := w.dial()
			token := w.token("alice", map[string]any{"exp": time.Now().Add(2 * time.Second).Unix()})
			_, err := io.WriteString(connection, "GET /socket HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nAuthorization: Bearer "+token+"\r\n\r\n")
			check(t, err)
			got, err := io.ReadAll(connection)
			if _, heard, _ := strings.Cut(string(got), "\r\n\r\n"); heard != string(said) || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %q and %v, want %q and the end", heard, err, said)
			}
		})
	}
}
