package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Call is one request to the app and its answer. It may be used again, after Reset.
type Call struct {
	client *Client
	head   bool // the answer to HEAD has no body
	up     *upstream
	buffer *[bufferSize]byte
	in     []byte // of buffer: what was read and is not used yet
	header http.Header
	fields fields
	left   int64 // of the body; of one that ends by itself, -1
	closes bool

	// Of an answer that net/http has to read.
	response *http.Response
	reader   *bufio.Reader
	begun    *bytes.Reader // what reader reads first

	mu      sync.Mutex
	dialing context.CancelFunc
	cause   error // why the call was cancelled
	cut     bool  // and the deadline of up was moved for it
}

// Answer is the head of what the app answers.
type Answer struct {
	Status int
	// Header has no hop-by-hop fields. It is good until the call is reset.
	Header http.Header
	// Trailer has the names of the announced fields that come after the body.
	Trailer []string
	// Streams is true for an answer whose length is not known.
	Streams bool
}

// Reset makes a call ready for use. Nobody else may know it any more.
func (c *Call) Reset(client *Client) {
	if c.buffer != nil {
		buffers.Put(c.buffer)
	}
	if c.header == nil {
		c.header = http.Header{}
	}
	c.client, c.up, c.buffer, c.in, c.response, c.reader, c.dialing, c.cause, c.cut = client, nil, nil, nil, nil, nil, nil, nil, false
}

// Cancel makes the call give up, with this cause. Any goroutine may call it, until the call has ended.
func (c *Call) Cancel(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil || cause == nil {
		return
	}
	c.cause = cause
	switch {
	case c.dialing != nil:
		c.dialing()
	case c.up != nil:
		c.cut = true
		_ = c.up.SetDeadline(longAgo)
	}
}

// maxInterim is how many interim answers (1xx) one answer may have.
const maxInterim = 5

// Send sends a request with this body and waits for the head of the answer. The request has to be Sendable; its own Body is not looked at, and its header
// must have no hop-by-hop fields. An app that closes a kept connection is asked once more, over another, if that cannot change anything twice (RFC 9110 section
// 9.2.2).
func (c *Call) Send(ctx context.Context, r *http.Request, body []byte, interim func(status int, header http.Header)) (Answer, error) {
	c.head = r.Method == http.MethodHead
	if err := ctx.Err(); err != nil {
		return Answer{}, err
	}
	again := len(body) == 0 && (c.head || r.Method == http.MethodGet || r.Method == http.MethodOptions)
	for {
		up, err := c.connect(ctx)
		if err != nil {
			return Answer{}, err
		}
		begun, answer, err := c.try(r, body, interim)
		if err == nil {
			return answer, nil
		}
		retry := again && up.used && !begun
		c.drop()
		c.mu.Lock()
		cause := c.cause
		c.mu.Unlock()
		switch {
		case cause != nil:
			return Answer{}, cause
		case !retry:
			return Answer{}, err
		}
	}
}

// connect gives the call a connection. One that was kept is looked at first: the app may have closed it, or may have said what nobody asked for,
// which would be taken for the answer to this call.
func (c *Call) connect(ctx context.Context) (*upstream, error) {
	for up := c.client.take(); up != nil; up = c.client.take() {
		if !up.silent() {
			_ = up.Close()
			continue
		}
		return up, c.use(up)
	}
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.dialing = cancel
	cause := c.cause
	c.mu.Unlock()
	if cause != nil {
		return nil, cause
	}
	socket, err := c.client.dial(dialing)
	if err != nil {
		return nil, err
	}
	up := newUpstream(socket)
	return up, c.use(up)
}

func (c *Call) use(up *upstream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing = nil
	if c.cause != nil {
		_ = up.Close()
		return c.cause
	}
	c.up = up
	return nil
}

// drop closes the connection of the call.
func (c *Call) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.up.Close()
	c.up = nil
}

// try reports whether the app has begun to answer.
func (c *Call) try(r *http.Request, body []byte, interim func(int, http.Header)) (begun bool, answer Answer, err error) {
	if c.buffer == nil {
		c.buffer = buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // it holds nothing else
	}
	out := append(appendRequest(c.buffer[:0], r, len(body)), body...)
	if _, err = c.up.Write(out); err != nil {
		return false, Answer{}, err
	}
	c.in = c.buffer[:0]
	for known := 0; ; known = len(c.in) {
		var n int
		n, err = c.up.Read(c.buffer[len(c.in):])
		c.in = c.buffer[:len(c.in)+n]
		if n == 0 {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("the app closed the connection: %w", io.ErrUnexpectedEOF)
			}
			return len(c.in) > 0, Answer{}, err
		}
		from := max(0, known-len(headEnd))
		if end := bytes.Index(c.in[from:], headEnd); end >= 0 {
			end += from + len(headEnd)
			var ok bool
			if answer, ok = c.read(string(c.in[:end])); ok {
				c.in = c.in[end:]
				return true, answer, nil
			}
			break
		}
		if len(c.in) == bufferSize || !answerBegins(c.in) {
			break
		}
	}
	answer, err = c.readStandardly(interim)
	return true, answer, err
}

// answerBegins reports whether the head of an answer that we read may begin so.
func answerBegins(head []byte) bool {
	const protocol = "HTTP/1.1 "
	if n := min(len(head), len(protocol)); string(head[:n]) != protocol[:n] {
		return false
	}
	for {
		end := bytes.IndexByte(head, '\n')
		if end < 0 {
			return true
		}
		if end == 0 || head[end-1] != '\r' {
			return false
		}
		head = head[end+1:]
	}
}

// read reads the head of an answer, and reports false for one that net/http had better read.
func (c *Call) read(head string) (Answer, bool) {
	line, rest, ok := cutLine(head)
	line, known := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok || !known || len(line) < 3 || len(line) > 3 && line[3] != ' ' || !c.fields.read(rest, c.header) {
		return Answer{}, false
	}
	status, err := strconv.Atoi(line[:3])
	if err != nil || status < http.StatusOK || line[0] == '+' {
		return Answer{}, false
	}
	length := c.header["Content-Length"]
	switch {
	case c.head, status == http.StatusNoContent, status == http.StatusNotModified:
		c.left = 0
		_, ok = contentLength(length)
	case length == nil:
		return Answer{}, false // it ends with the connection
	default:
		c.left, ok = contentLength(length)
	}
	if !ok {
		return Answer{}, false
	}
	switch connection := c.header["Connection"]; {
	case connection == nil, len(connection) == 1 && strings.EqualFold(connection[0], "keep-alive"):
		c.closes = false
	case len(connection) == 1 && strings.EqualFold(connection[0], "close"):
		c.closes = true
	default:
		return Answer{}, false
	}
	delete(c.header, "Connection")
	return Answer{Status: status, Header: c.header}, true
}

// maxHead is how long the head of an answer may be. net/http has the same.
const maxHead = 10 << 20

// readStandardly has net/http read the answer.
func (c *Call) readStandardly(interim func(int, http.Header)) (Answer, error) {
	c.begun = bytes.NewReader(c.in)
	limited := &io.LimitedReader{R: io.MultiReader(c.begun, c.up), N: maxHead}
	c.in = nil // it stays where it is until it was read
	c.reader = bufio.NewReaderSize(limited, 4<<10)
	method := http.MethodGet
	if c.head {
		method = http.MethodHead
	}
	for range maxInterim {
		response, err := http.ReadResponse(c.reader, &http.Request{Method: method}) //nolint:bodyclose // Copy does; and an interim answer has none
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return Answer{}, err
		}
		removeHopByHop(response.Header)
		switch {
		case response.StatusCode == http.StatusSwitchingProtocols:
			return Answer{}, errors.New("the app changed the protocol unasked")
		case response.StatusCode < http.StatusContinue:
			return Answer{}, fmt.Errorf("the app answered with status %d", response.StatusCode)
		case response.StatusCode < http.StatusOK:
			interim(response.StatusCode, response.Header)
			limited.N = maxHead
			continue
		}
		limited.N = math.MaxInt64
		c.response, c.closes = response, response.Close
		answer := Answer{Status: response.StatusCode, Header: response.Header, Streams: response.ContentLength < 0}
		for name := range response.Trailer {
			answer.Trailer = append(answer.Trailer, name)
		}
		return answer, nil
	}
	return Answer{}, errors.New("the app gave no answer but interim ones")
}

// removeHopByHop removes what is about this connection alone (RFC 9110 section 7.6.1).
func removeHopByHop(header http.Header) {
	for _, line := range header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	} {
		delete(header, name)
	}
}

// Copy passes the body of the answer on, each part as soon as it comes, and ends the call.
func (c *Call) Copy(w http.ResponseWriter) error {
	err := c.copy(w)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.closes || c.cut {
		_ = c.up.Close()
		if err != nil && c.cause != nil {
			err = c.cause
		}
	} else {
		c.client.put(c.up)
	}
	c.up = nil
	return err
}

// muchLarger is the size of buffers for bodies that need several.
const muchLarger = 32 << 10

var downloads = sync.Pool{New: func() any { return new([muchLarger]byte) }}

func (c *Call) copy(w http.ResponseWriter) error {
	if c.response != nil {
		return c.copyStandardly(w)
	}
	if part := min(c.left, int64(len(c.in))); part > 0 {
		if _, err := w.Write(c.in[:part]); err != nil {
			return err
		}
		c.left, c.in = c.left-part, c.in[part:]
	}
	if len(c.in) > 0 {
		c.closes = true // nobody knows what that is
	}
	between := c.buffer[:]
	if c.left > muchLarger {
		large := downloads.Get().(*[muchLarger]byte) //nolint:forcetypeassert // it holds nothing else
		defer downloads.Put(large)
		between = large[:]
	}
	for c.left > 0 {
		// What was written goes out while we wait for the next. The last part goes out with the end of the answer.
		if err := flush(w); err != nil {
			return err
		}
		n, err := c.up.Read(between[:min(c.left, int64(len(between)))])
		if n == 0 {
			return unexpected(err)
		}
		c.left -= int64(n)
		if _, err = w.Write(between[:n]); err != nil {
			return err
		}
	}
	return nil
}

func (c *Call) copyStandardly(w http.ResponseWriter) (ended error) {
	defer func() {
		if ended != nil {
			_ = c.up.Close() // else the rest of the body would be read, and there may be no end to it
		}
		_ = c.response.Body.Close()
	}()
	buffer := buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // likewise
	defer buffers.Put(buffer)
	between := buffer[:]
	announced := len(c.response.Trailer)
	for {
		if err := flush(w); err != nil {
			return err
		}
		n, err := c.response.Body.Read(between)
		if n > 0 {
			if _, failed := w.Write(between[:n]); failed != nil {
				return failed
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = flush(w) // what has come of it is the caller's
			return err
		}
	}
	if c.reader.Buffered() > 0 || c.begun.Len() > 0 || c.response.ContentLength < 0 && c.response.TransferEncoding == nil {
		c.closes = true
	}
	prefix := ""
	if len(c.response.Trailer) != announced {
		prefix = http.TrailerPrefix
	}
	for name, values := range c.response.Trailer {
		w.Header()[prefix+name] = values
	}
	return nil
}

func flush(w http.ResponseWriter) error {
	if flusher, ok := w.(interface{ FlushError() error }); ok {
		return flusher.FlushError()
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
