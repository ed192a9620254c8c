package http1

import (
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quick is a system call on a socket, about bytes. It never waits: later says that it would have to. Packages net and syscall tell the runtime of each
// call, which makes ready for one that takes long; over a whole request that costs as much as two calls more do.
func quick(call, fd uintptr, p []byte, flags uintptr) (n int, later bool, err error) {
	for {
		done, _, failed := unix.RawSyscall6(call, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags|unix.MSG_DONTWAIT, 0, 0) //nolint:gosec // p stays where it is until the call returns
		switch failed {
		case 0:
			return int(done), false, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, true, nil
		default:
			return 0, false, failed
		}
	}
}

func receive(fd uintptr, p []byte) (n int, later bool, err error) {
	return quick(unix.SYS_RECVFROM, fd, p, 0)
}

func send(fd uintptr, p []byte) (n int, later bool, err error) {
	return quick(unix.SYS_SENDTO, fd, p, unix.MSG_NOSIGNAL)
}

// arrived is what has come on a socket that nobody has read.
type arrived uint8

const (
	nothing arrived = iota
	something
	ended // or nobody can tell
)

// look looks at what has arrived on a socket, without taking it.
func look(fd uintptr) arrived {
	var first [1]byte
	switch n, later, _ := quick(unix.SYS_RECVFROM, fd, first[:], unix.MSG_PEEK); {
	case later:
		return nothing
	case n > 0:
		return something
	}
	return ended
}

// sight is a look at what has arrived. Whoever looks some times a second at thousands of sockets leaves no garbage by it.
type sight struct {
	seen arrived
	look func(fd uintptr) // with this sight
}

func newSight() *sight {
	s := &sight{}
	s.look = func(fd uintptr) { s.seen = look(fd) }
	return s
}

// of looks at a socket, or at none: nil.
func (s *sight) of(raw syscall.RawConn) arrived {
	if s.seen = ended; raw != nil {
		_ = raw.Control(s.look) // one that is closed has ended
	}
	return s.seen
}

// rawOf returns the socket of a connection that is one, and is open; else nil.
func rawOf(conn net.Conn) syscall.RawConn {
	if socket, ok := conn.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// transfer is what is read from a socket, or written to one, at a time.
type transfer struct {
	p   []byte
	n   int
	err error
	try func(fd uintptr) (done bool) // receive or send, of this transfer
}

func (t *transfer) begin(p []byte) { t.p, t.n, t.err = p, 0, nil }

// end returns what has become of it; failed is what the wait for the socket came to.
func (t *transfer) end(failed error) (n int, err error) {
	if t.p = nil; failed != nil {
		return t.n, failed
	}
	return t.n, t.err
}

func (t *transfer) receive(fd uintptr) (done bool) {
	n, later, err := receive(fd, t.p)
	if later {
		return false
	}
	if t.n, t.err = n, err; n == 0 && err == nil {
		t.err = io.EOF
	}
	return true
}

func (t *transfer) send(fd uintptr) (done bool) {
	for t.n < len(t.p) && t.err == nil {
		n, later, err := send(fd, t.p[t.n:])
		if later {
			return false
		}
		t.n, t.err = t.n+n, err
	}
	return true
}
