package http1

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// arrived is what has come on a socket that nobody has read.
type arrived uint8

const (
	nothing arrived = iota
	something
	ended // or nobody can tell
)

// look looks at what has arrived on a socket, without taking it and without waiting.
func look(fd uintptr) arrived {
	var first [1]byte
	switch n, _, err := unix.Recvfrom(int(fd), first[:], unix.MSG_PEEK|unix.MSG_DONTWAIT); {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nothing
	case err == nil && n > 0:
		return something
	}
	return ended
}

// isSilent is look(fd) == nothing, and allocates nothing.
func isSilent(fd uintptr) bool {
	asked := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}} //nolint:gosec // descriptors are small
	n, err := unix.Poll(asked[:], 0)
	return n == 0 && err == nil
}

// gone reports whether the other side of a connection has closed it. What has arrived and was not read hides the end that comes after it.
func gone(socket net.Conn) bool {
	seen := ended
	if connection, ok := socket.(syscall.Conn); ok {
		if raw, err := connection.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { seen = look(fd) }) // one that is closed has ended
		}
	}
	return seen == ended
}
