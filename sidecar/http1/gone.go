package http1

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peek looks at what has arrived on a socket, without taking it and without waiting. One goroutine at a time may look.
type peek struct {
	raw   syscall.RawConn
	state *arrived
	see   func(fd uintptr)
}

// arrived is what a peek sees.
type arrived uint8

const (
	nothing arrived = iota
	something
	ended // or nobody can tell
)

func newPeek(socket net.Conn) peek {
	state := new(arrived)
	p := peek{state: state, see: func(fd uintptr) {
		var first [1]byte
		switch n, _, err := unix.Recvfrom(int(fd), first[:], unix.MSG_PEEK|unix.MSG_DONTWAIT); {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			*state = nothing
		case err == nil && n > 0:
			*state = something
		}
	}}
	if connection, ok := socket.(syscall.Conn); ok {
		p.raw, _ = connection.SyscallConn() // one that is closed has none
	}
	return p
}

func (p peek) look() arrived {
	if *p.state = ended; p.raw != nil {
		_ = p.raw.Control(p.see) // likewise
	}
	return *p.state
}

// gone reports whether the other side of a connection has closed it. What has arrived and was not read hides the end that comes after it.
func gone(socket net.Conn) bool { return newPeek(socket).look() == ended }
