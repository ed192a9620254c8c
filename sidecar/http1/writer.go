package http1

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// writer writes one answer after the other, as net/http's http.ResponseWriter would, but that it never guesses a Content-Type.
type writer struct {
	conn   *conn
	header http.Header

	status   int               // 0 until the head is made
	buffer   *[bufferSize]byte // nil between answers, and while nothing is in it since a flush
	out      []byte            // of buffer: what is to be sent
	held     []byte            // of the body, while its length may still turn out; then the head ends without what frames it
	framed   bool              // the head is whole
	allowed  bool              // the status allows a body
	bodyless bool              // none is sent: only measured, for a HEAD
	chunked  bool
	left     int64    // of the body, that was announced and not written; -1: no length was announced
	trailers []string // announced
	closes   bool     // the connection, after the answer
	err      error    // of the connection, that ended it all
}

// maxHeld is how long a body may be for its length to be told when nobody announced it. net/http has the same.
const maxHeld = 2 << 10

func (w *writer) begin() {
	clear(w.header)
	*w = writer{conn: w.conn, header: w.header, held: w.held[:0], left: -1}
	w.fetch()
}

// fetch gives the writer a buffer, if it has none.
func (w *writer) fetch() {
	if w.buffer == nil {
		w.buffer = buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // it holds nothing else
		w.out = w.buffer[:0]
	}
}

// spare gives it back.
func (w *writer) spare() {
	if w.buffer != nil {
		buffers.Put(w.buffer)
		w.buffer, w.out = nil, nil
	}
}

func (w *writer) release() {
	w.spare()
	if cap(w.held) > maxHeld {
		w.held = nil
	}
}

// Header is the header of the answer.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader makes the head. An interim one (1xx) is sent at once.
func (w *writer) WriteHeader(status int) {
	switch {
	case w.status != 0:
		return
	case status < http.StatusOK:
		w.startLine(status)
		w.fields()
		w.out = append(w.out, "\r\n"...)
		_ = w.send()
		return
	}
	_, dated := w.header["Date"]
	w.open(status, dated, w.header["Connection"] != nil && w.header.Get("Connection") == "close")
	w.fields()
	for _, line := range w.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			w.trailers = append(w.trailers, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	length, ok := int64(0), false
	if values := w.header["Content-Length"]; len(values) == 1 {
		length, ok = parseLength(values[0])
	}
	w.announce(length, ok)
}

// Relay makes the head of fields as they were read, instead of the header's.
func (w *writer) Relay(status int, fields *Fields) {
	if w.status != 0 {
		return
	}
	_, dates := fields.find("Date")
	w.open(status, dates > 0, false)
	for i, name := range fields.names[:fields.n] {
		switch name {
		case "Content-Length", "Connection":
			continue
		}
		w.out = append(append(w.out, name...), ": "...)
		w.out = append(append(w.out, fields.values[i]...), "\r\n"...)
	}
	said, length, ok := announced(fields)
	w.announce(length, said && ok)
}

// open begins the head.
func (w *writer) open(status int, dated, closes bool) {
	w.status = status
	w.allowed = status != http.StatusNoContent && status != http.StatusNotModified
	w.bodyless = !w.allowed || w.conn.request.Method == http.MethodHead
	w.closes = closes || w.conn.request.Close || w.conn.server.single.Load() || w.conn.body != nil && w.conn.body.left.Load() > maxRest
	w.startLine(status)
	if !dated {
		w.out = append(w.out, w.conn.server.tick.Load().date...)
	}
}

// announce ends the head if it is known how the body is framed.
func (w *writer) announce(length int64, known bool) {
	if known && w.allowed {
		w.left = length
	}
	if known || !w.allowed {
		w.frame()
	}
}

func (w *writer) startLine(status int) {
	w.out = append(w.out, "HTTP/1.1 "...)
	w.out = strconv.AppendInt(w.out, int64(status), 10)
	w.out = append(w.out, ' ')
	if text := http.StatusText(status); text != "" {
		w.out = append(w.out, text...)
	} else {
		w.out = strconv.AppendInt(append(w.out, "status code "...), int64(status), 10)
	}
	w.out = append(w.out, "\r\n"...)
}

// fields appends the fields that do not frame the body.
func (w *writer) fields() {
	for name, values := range w.header {
		switch name {
		case "Content-Length", "Connection", "Transfer-Encoding":
			continue
		}
		if !strings.HasPrefix(name, http.TrailerPrefix) {
			w.out = appendField(w.out, name, values)
		}
	}
}

// appendField appends a field as it can be read back: whoever made its name or value can end neither by it.
func appendField(out []byte, name string, values []string) []byte {
	if name == "" || !consists(name, inToken) {
		return out
	}
	for _, value := range values {
		out = append(append(out, name...), ": "...)
		if strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 || strings.IndexByte(value, 0) >= 0 {
			value = unbroken.Replace(value)
		}
		out = append(append(out, value...), "\r\n"...)
	}
	return out
}

var unbroken = strings.NewReplacer("\n", " ", "\r", " ", "\x00", " ")

// frame ends the head with how long the body is: as announced, or as told by its end.
func (w *writer) frame() {
	w.framed = true
	switch {
	case w.left >= 0:
		w.out = strconv.AppendInt(append(w.out, "Content-Length: "...), w.left, 10)
		w.out = append(w.out, "\r\n"...)
	case !w.bodyless:
		w.chunked = true
		w.out = append(w.out, "Transfer-Encoding: chunked\r\n"...)
	}
	if w.closes {
		w.out = append(w.out, "Connection: close\r\n"...)
	}
	w.out = append(w.out, "\r\n"...)
}

// Write writes a part of the body.
func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case len(p) == 0:
		return 0, nil
	case !w.allowed:
		return 0, http.ErrBodyNotAllowed
	case !w.framed && len(w.held)+len(p) <= maxHeld:
		w.held = append(w.held, p...)
		return len(p), nil
	case !w.framed:
		w.frame()
		if err := w.body(w.held); err != nil {
			return 0, err
		}
		w.held = w.held[:0]
	}
	if w.left >= 0 {
		if int64(len(p)) > w.left {
			return 0, http.ErrContentLength
		}
		w.left -= int64(len(p))
	}
	if err := w.body(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// body appends to the body, as it is framed.
func (w *writer) body(p []byte) error {
	if len(p) == 0 || w.bodyless {
		return nil
	}
	w.fetch()
	if !w.chunked {
		return w.append(p)
	}
	w.out = append(strconv.AppendInt(w.out, int64(len(p)), 16), "\r\n"...)
	if err := w.append(p); err != nil {
		return err
	}
	w.out = append(w.out, "\r\n"...)
	return nil
}

// append sends what does not fit into the buffer.
func (w *writer) append(p []byte) error {
	const room = bufferSize - 64 // for what frames a chunk
	if len(w.out)+len(p) <= room {
		w.out = append(w.out, p...)
		return nil
	}
	if err := w.send(); err != nil {
		return err
	}
	if len(p) <= room {
		w.out = append(w.out, p...)
		return nil
	}
	return w.sendNow(p)
}

// send sends what is in the buffer.
func (w *writer) send() error {
	if len(w.out) == 0 {
		return w.err
	}
	err := w.sendNow(w.out)
	w.out = w.buffer[:0]
	return err
}

func (w *writer) sendNow(p []byte) error {
	if w.err == nil {
		_, w.err = w.conn.send(p)
	}
	return w.err
}

// finish ends the answer, and reports whether another can follow it.
func (w *writer) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.framed {
		if w.trailers == nil && !w.hasTrailers() && (!w.bodyless || len(w.held) > 0) {
			w.left = int64(len(w.held))
		}
		w.frame()
		_ = w.body(w.held)
		w.left = min(w.left, 0)
	}
	if w.chunked {
		w.fetch()
		w.out = append(w.out, "0\r\n"...)
		w.appendTrailers()
		w.out = append(w.out, "\r\n"...)
	}
	if w.send() != nil || w.left > 0 && !w.bodyless {
		return false // the rest of the body would be taken from the next answer
	}
	return !w.closes
}

func (w *writer) hasTrailers() bool {
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

func (w *writer) appendTrailers() {
	for name, values := range w.header {
		if bare, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			w.out = appendField(w.out, bare, values)
		} else if slices.Contains(w.trailers, name) {
			w.out = appendField(w.out, name, values)
		}
	}
}

// FlushError sends what was written. It may take long until there is more, so the answer has no buffers until then. It and what follows is for
// http.ResponseController.
func (w *writer) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.framed {
		w.frame()
		if err := w.body(w.held); err != nil {
			return err
		}
		w.held = w.held[:0]
	}
	err := w.send()
	w.spare()
	w.conn.spare()
	return err
}

// Flush is for http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// EnableFullDuplex does nothing: an answer never waits for the request's body.
func (w *writer) EnableFullDuplex() error { return nil }

// SetReadDeadline bounds the reading of the request's body. The deadline ends with the answer.
func (w *writer) SetReadDeadline(deadline time.Time) error {
	w.conn.moved.Store(true)
	return w.conn.socket.SetReadDeadline(deadline)
}

// SetWriteDeadline bounds the writing of the answer, likewise.
func (w *writer) SetWriteDeadline(deadline time.Time) error {
	w.conn.moved.Store(true)
	return w.conn.socket.SetWriteDeadline(deadline)
}

// Fields are those of the request that is being answered; nil if r is another.
func (w *writer) Fields(r *http.Request) *Fields {
	if r != w.conn.request {
		return nil
	}
	return &w.conn.fields
}

// Gone reports whether the caller has closed the connection, or its side of it. What has arrived and was not read hides the end that comes after it.
func (w *writer) Gone() bool { return w.conn.sight.of(w.conn.raw) == ended }

var _ interface {
	http.ResponseWriter
	http.Flusher
} = (*writer)(nil)
