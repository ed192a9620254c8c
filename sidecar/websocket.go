package sidecar

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/sidecar/frames"
)

// webSocket is the connection of a caller from the handshake on.
type webSocket struct {
	net.Conn
	*exchange
	said    frames.Follower // by the app
	copying sync.Mutex      // held while the app is listened to
}

func (s *webSocket) Write(p []byte) (int, error) {
	s.writing.Store(s.front.watch.tick.Load())
	defer s.writing.Store(0)
	n, err := s.Conn.Write(p)
	s.said.Follow(p[:n])
	return n, err
}

// ReadFrom and WriteTo spare the large buffers that io.Copy would take for each direction, for as long as the WebSocket lasts.

// ReadFrom sends what the app says. Where the sidecar has ended the exchange, it says so.
func (s *webSocket) ReadFrom(app io.Reader) (int64, error) {
	s.copying.Lock()
	defer s.copying.Unlock()
	buffer := streams.Get()
	defer streams.Put(buffer)
	n, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{app}, buffer)
	if why := s.endedBy(); why != nil && s.said.Between() {
		s.sayFarewell(why)
	}
	return n, err
}

// WriteTo passes on what the caller says.
func (s *webSocket) WriteTo(app io.Writer) (int64, error) {
	buffer := streams.Get()
	defer streams.Put(buffer)
	return io.CopyBuffer(struct{ io.Writer }{app}, struct{ io.Reader }{s.Conn}, buffer)
}

// CloseWrite passes on that the app has said its last word.
func (s *webSocket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close waits until the caller was told why, where there is something to tell. It is not long: the app is not listened to any more.
func (s *webSocket) Close() error {
	if s.endedBy() != nil {
		_ = s.SetWriteDeadline(time.Now().Add(farewellWithin)) // for what nobody takes; the farewell has a deadline of its own
		s.copying.Lock()
		defer s.copying.Unlock()
	}
	return s.Conn.Close()
}

// farewellWithin is how long a caller may take to hear why its WebSocket ends, and to answer. What it still says meanwhile is heard by nobody; to close
// at once would make the kernel reset the connection, and the caller might lose what it was told.
const farewellWithin = 250 * time.Millisecond

func (s *webSocket) sayFarewell(why *ending) {
	code := frames.ClosePolicyViolation
	if why.Status == http.StatusServiceUnavailable { // the token may be good as ever
		code = frames.CloseTryAgainLater
	}
	_ = s.SetDeadline(time.Now().Add(farewellWithin))
	if _, err := s.Conn.Write(frames.Close(code, string(why.Reason.Told()))); err == nil && s.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, s.Conn)
	}
}
