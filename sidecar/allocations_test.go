package sidecar_test

import (
	"net"
	"testing"
)

// A request with a token that was seen before costs the sidecar next to no memory. Caller and app are in the same process, and cost none.
func TestPlainRequestAllocatesNextToNothing(t *testing.T) {
	w := newWorld(t)
	answered := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	listener, err := net.Listen("tcp", w.appIP+":"+port)
	check(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for asked := make([]byte, 8<<10); ; {
			if n, err := conn.Read(asked); err != nil || string(asked[n-4:n]) != "\r\n\r\n" {
				return
			}
			if _, err := conn.Write(answered); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	b := w.bundle()
	b.AccessLog = ""
	w.mount(b)
	w.start("--log-level=error")

	caller := w.dial()
	defer caller.Close()
	sent := []byte("GET /private HTTP/1.1\r\nHost: app\r\nAccept: */*\r\nUser-Agent: test\r\nAuthorization: Bearer " + w.token("alice", nil) + "\r\n\r\n")
	heard := make([]byte, 8<<10)
	request := func() {
		_, err := caller.Write(sent)
		check(t, err)
		n, err := caller.Read(heard)
		check(t, err)
		if string(heard[n-5:n]) != "hello" {
			t.Fatalf("got %q", heard[:n])
		}
	}
	got := testing.AllocsPerRun(300, request)
	for range 20 { // whatever else the process does at times is not the request's
		got = min(got, testing.AllocsPerRun(300, request))
	}
	if got > plainAllocations {
		t.Errorf("got %v allocations a request, want %v at most", got, plainAllocations)
	}
}
