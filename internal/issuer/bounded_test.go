package issuer_test

import (
	"crypto/tls"
	"net"
	"testing"
)

// Connections take memory before anybody has said who they are: without a bound, 12,000 that say nothing end the process.
func TestConnectionsBeyondTheBoundAreClosedAndTheOthersServed(t *testing.T) {
	w := newWorld(t)
	w.process()
	a := w.login("alice") // by a connection that stays
	crowd := make([]net.Conn, 0, 6_000)
	for range cap(crowd) {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		crowd = append(crowd, c)
	}
	if _, err := w.dial(); err == nil {
		t.Error("one connection more: got a handshake, want it closed")
	}
	w.mustRefresh(a.refresh())
	for _, c := range crowd {
		_ = c.Close()
	}
	w.eventually("room again", func() bool {
		c, err := w.dial()
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// dial opens a connection and ends its handshake.
func (w *world) dial() (*tls.Conn, error) {
	return tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.roots, ServerName: "issuer.test"})
}
