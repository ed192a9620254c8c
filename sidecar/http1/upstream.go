package http1

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// upstream is a connection to the app.
type upstream struct {
	net.Conn
	used  bool  // it has carried a request before
	since int64 // in ticks: when it was put aside
	raw   syscall.RawConn
	sight *sight
	turn  turn
	take  func(fd uintptr) (done bool) // of turn
	hear  func(fd uintptr) (done bool) // likewise
}

// turn is a request that is sent, and the first that comes of its answer.
type turn struct {
	out, in []byte
	begun   bool // out was sent, so far as there was room
	kept    bool // the connection has carried a request before
	spoken  bool // by the app, before it was asked
	sent, n int
	err     error
}

func newUpstream(socket net.Conn) *upstream {
	u := &upstream{Conn: socket, raw: rawOf(socket), sight: newSight()}
	u.take, u.hear = u.turn.take, u.turn.hear
	return u
}

// silent reports whether nothing has come from the app that nobody has read, not even the end of the connection.
func (u *upstream) silent() bool {
	return u.sight.of(u.raw) == nothing
}

// errSpoken says that the app has said something that nobody asked for, be it only its farewell. Nothing was sent.
var errSpoken = errors.New("the app has closed the connection, or speaks unasked")

// ask sends a request, and reads what comes first. A connection that was kept is looked at before: what has come on it would be taken for the answer.
func (u *upstream) ask(out, in []byte) (n int, err error) {
	if u.raw == nil {
		if _, err = u.Write(out); err != nil {
			return 0, err
		}
		return u.Read(in)
	}
	u.turn = turn{out: out, in: in, kept: u.used}
	// The poller forgets what it knew when Read begins. What it tells after that has come after that.
	err = u.raw.Read(u.take)
	done := u.turn
	u.turn = turn{}
	switch {
	case err != nil:
		return 0, err
	case done.spoken:
		return 0, errSpoken
	case done.err != nil:
		return 0, done.err
	case done.sent < len(out): // there was not room for all of it
		if _, err = u.Write(out[done.sent:]); err != nil {
			return 0, err
		}
		return u.Read(in)
	case done.n == 0:
		return 0, io.EOF
	}
	return done.n, nil
}

// await waits until there is something to read, be it the end.
func (u *upstream) await() {
	u.turn = turn{}
	_ = u.raw.Read(u.hear) // a socket that is closed, or has no time left, tells that when it is read
}

// hear is called as take is.
func (t *turn) hear(fd uintptr) (done bool) {
	told := t.begun
	t.begun = true
	return told || look(fd) != nothing
}

// take is called at first, and then whenever the poller has something to tell of the connection.
func (t *turn) take(fd uintptr) (done bool) {
	if !t.begun {
		if t.kept && look(fd) != nothing {
			t.spoken = true
			return true
		}
		t.begun = true
		t.sent, _, t.err = send(fd, t.out)
		if t.err != nil || t.sent < len(t.out) {
			return true
		}
		if t.kept { // it is the app's turn: no use to look before the poller tells
			return false
		}
		// A new app may have spoken, or gone, before it was asked. Of that the poller tells nobody again.
	}
	n, later, err := receive(fd, t.in)
	if later {
		return false
	}
	t.n, t.err = n, err
	return true
}
