package http1

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// gone reports whether the other side of a connection has closed it, without reading from it or waiting. What has arrived and was not read
// hides the end that comes after it.
func gone(socket net.Conn) bool {
	state, _ := peek(socket)
	return state == ended
}

// silent reports whether nothing has come from the other side of a connection, not even its end.
func silent(socket net.Conn) bool {
	state, _ := peek(socket)
	return state == nothing
}

type arrived uint8

const (
	nothing arrived = iota
	something
	ended
)

func peek(socket net.Conn) (arrived, error) {
	connection, ok := socket.(syscall.Conn)
	if !ok {
		return nothing, errors.ErrUnsupported
	}
	raw, err := connection.SyscallConn()
	if err != nil {
		return ended, err
	}
	state := ended
	err = raw.Control(func(fd uintptr) {
		var first [1]byte
		switch n, _, failed := unix.Recvfrom(int(fd), first[:], unix.MSG_PEEK|unix.MSG_DONTWAIT); {
		case errors.Is(failed, unix.EAGAIN), errors.Is(failed, unix.EINTR):
			state = nothing
		case failed == nil && n > 0:
			state = something
		}
	})
	return state, err
}
