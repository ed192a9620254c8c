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

	"golang.org/x/net/http/httpguts"
)

// Call is one request to the app and its answer. It begins with Begin, and may do so again when nobody else knows it any more.
type Call struct {
	client *Client
	method string
	asking *[bufferSize]byte // nil but while the head of the request is written and sent
	asked  []byte            // of asking, if there is room: the request
	agent  bool              // it has User-Agent
	up     *upstream
	*page         // nil before the answer, and while nothing comes of it
	in     []byte // of the page's buffer: what was read and is not used yet
	left   int64  // of the body; of one that ends by itself, -1
	closes bool

	// Of an answer that net/http has to read.
	response *http.Response
	reader   bufio.Reader
	spare    *bufio.Reader // whose buffer reader has; nil: it has none

	mu      sync.Mutex
	dialing context.CancelFunc
	cause   error // why the call was cancelled
	cut     bool  // and the deadline of up was moved for it
}

// page is what the head of an answer is read into. Pages go round.
type page struct {
	fields Fields
	buffer [bufferSize]byte
}

var pages = sync.Pool{New: func() any { return new(page) }}

// readers are for what net/http has to read.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }}

// Answer is the head of what the app answers. It has no hop-by-hop fields.
type Answer struct {
	Status int
	// Fields is nil where net/http has read the answer. It is good until the call begins again.
	Fields *Fields
	// Trailer has the names of the announced fields that come after the body.
	Trailer []string
	// Streams is true for an answer whose length is not known.
	Streams bool

	header http.Header // where there are no Fields
}

// AddTo adds the header of the answer to another.
func (a Answer) AddTo(header http.Header) {
	if a.Fields != nil {
		a.Fields.addTo(header)
		return
	}
	for name, values := range a.header {
		if before := header[name]; before != nil {
			values = append(before, values...)
		}
		header[name] = values
	}
}

// Begin begins a request to the client's app: with the method, the URL and the host of r.
func (c *Call) Begin(client *Client, r *http.Request) {
	c.release()
	if c.asking == nil {
		c.asking = buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // it holds nothing else
	}
	c.client, c.method, c.agent, c.up, c.in = client, r.Method, false, nil, nil
	c.response, c.dialing, c.cause, c.cut = nil, nil, nil, false
	c.asked = append(append(c.asking[:0], r.Method...), ' ')
	c.asked = append(c.asked, r.URL.EscapedPath()...)
	if r.URL.ForceQuery || r.URL.RawQuery != "" {
		c.asked = append(append(c.asked, '?'), r.URL.RawQuery...)
	}
	c.asked = append(append(c.asked, " HTTP/1.1\r\nHost: "...), r.Host...)
	c.asked = append(c.asked, "\r\n"...)
}

// release gives back what an answer is read into.
func (c *Call) release() {
	if c.page != nil {
		pages.Put(c.page)
		c.page = nil
	}
	if c.spare != nil {
		c.reader = bufio.Reader{}
		readers.Put(c.spare)
		c.spare = nil
	}
}

// Add adds a field that was read here as it is, but those that Send sets.
func (c *Call) Add(name, value string) {
	switch name {
	case "Content-Length":
		return
	case "User-Agent": // one, or none: as net/http sends it
		if c.agent || value == "" {
			c.agent = true
			return
		}
		c.agent = true
	}
	c.asked = append(append(c.asked, name...), ": "...)
	c.asked = append(append(c.asked, value...), "\r\n"...)
}

// AddNew adds a field of whatever origin, unless the app could misread it.
func (c *Call) AddNew(name, value string) (ok bool) {
	if name == "" || !consists(name, inToken) || !isValue(value) && !httpguts.ValidHeaderFieldValue(value) {
		return false
	}
	c.Add(name, value)
	return true
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

// Send sends the request that was begun, with this body, and waits for the head of the answer. An app that closes a kept connection is asked once more,
// over another, if that cannot change anything twice (RFC 9110 section 9.2.2).
func (c *Call) Send(ctx context.Context, body []byte, interim func(status int, header http.Header)) (Answer, error) {
	defer c.Drop()
	if err := ctx.Err(); err != nil {
		return Answer{}, err
	}
	again := false
	switch c.method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		again = len(body) == 0
	}
	if len(body) > 0 || c.method == http.MethodPost || c.method == http.MethodPut || c.method == http.MethodPatch {
		c.asked = strconv.AppendInt(append(c.asked, "Content-Length: "...), int64(len(body)), 10)
		c.asked = append(c.asked, "\r\n"...)
	}
	c.asked = append(append(c.asked, "\r\n"...), body...)
	for {
		if err := c.connect(ctx); err != nil {
			return Answer{}, err
		}
		used := c.up.used
		begun, answer, err := c.try(interim)
		if err == nil {
			return answer, nil
		}
		c.drop()
		c.mu.Lock()
		cause := c.cause
		c.mu.Unlock()
		switch {
		case cause != nil:
			return Answer{}, cause
		case errors.Is(err, errSpoken): // nothing was sent
		case !again || !used || begun:
			return Answer{}, err
		}
	}
}

// Drop lets go of a request that was begun and is not sent.
func (c *Call) Drop() {
	if c.asking != nil {
		buffers.Put(c.asking)
		c.asking, c.asked = nil, nil
	}
}

// connect gives the call a connection.
func (c *Call) connect(ctx context.Context) error {
	if up := c.client.take(); up != nil {
		return c.use(up)
	}
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.dialing = cancel
	cause := c.cause
	c.mu.Unlock()
	if cause != nil {
		return cause
	}
	socket, err := c.client.dial(dialing)
	if err != nil {
		return err
	}
	return c.use(newUpstream(socket))
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
func (c *Call) try(interim func(int, http.Header)) (begun bool, answer Answer, err error) {
	if c.page == nil {
		c.page = pages.Get().(*page) //nolint:forcetypeassert // it holds nothing else
	}
	c.in = c.buffer[:0]
	for known := 0; ; known = len(c.in) {
		var n int
		if known == 0 {
			n, err = c.up.ask(c.asked, c.buffer[:])
		} else {
			n, err = c.up.Read(c.buffer[known:])
		}
		c.in = c.buffer[:known+n]
		if n == 0 {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("the app closed the connection: %w", io.ErrUnexpectedEOF)
			}
			return known > 0, Answer{}, err
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
	if !ok || !known || len(line) < 3 || len(line) > 3 && line[3] != ' ' || !c.fields.read(rest) {
		return Answer{}, false
	}
	status, err := strconv.Atoi(line[:3])
	if err != nil || status < http.StatusOK || line[0] == '+' {
		return Answer{}, false
	}
	said, length, ok := announced(&c.fields)
	if !ok {
		return Answer{}, false
	}
	switch c.left = length; {
	case c.method == http.MethodHead, status == http.StatusNoContent, status == http.StatusNotModified:
		c.left = 0
	case !said:
		return Answer{}, false // it ends with the connection
	}
	if c.closes, ok = closes(&c.fields); !ok {
		return Answer{}, false
	}
	c.fields.remove("Connection")
	return Answer{Status: status, Fields: &c.fields}, true
}

// maxHead is how long the head of an answer may be. net/http has the same.
const maxHead = 10 << 20

// unread is what net/http reads of an answer: what came first was read here.
type unread struct{ *Call }

func (u unread) Read(p []byte) (n int, err error) {
	if len(u.in) == 0 {
		return u.up.Read(p)
	}
	n = copy(p, u.in)
	u.in = u.in[n:]
	return n, nil
}

// readFrom gives the reader a buffer, and something to read.
func (c *Call) readFrom(source io.Reader) {
	c.spare = readers.Get().(*bufio.Reader) //nolint:forcetypeassert // it holds nothing else
	c.reader = *c.spare
	c.reader.Reset(source)
}

// readStandardly has net/http read the answer.
func (c *Call) readStandardly(interim func(int, http.Header)) (Answer, error) {
	limited := &io.LimitedReader{R: unread{c}, N: maxHead}
	c.readFrom(limited)
	method := http.MethodGet
	if c.method == http.MethodHead {
		method = http.MethodHead
	}
	for range maxInterim {
		response, err := http.ReadResponse(&c.reader, &http.Request{Method: method}) //nolint:bodyclose // Copy does; and an interim answer has none
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
		answer := Answer{Status: response.StatusCode, header: response.Header, Streams: response.ContentLength < 0}
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
	var err error
	if c.response != nil {
		err = c.copyStandardly(w)
	} else {
		err = c.copy(w)
	}
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
	announced := len(c.response.Trailer)
	for {
		if err := flush(w); err != nil {
			return err
		}
		c.await()
		buffer := buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // likewise
		n, err := c.response.Body.Read(buffer[:])
		_, failed := w.Write(buffer[:n])
		buffers.Put(buffer)
		if failed != nil {
			return failed
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = flush(w) // what has come of it is the caller's
			return err
		}
	}
	if c.reader.Buffered() > 0 || len(c.in) > 0 || c.response.ContentLength < 0 && c.response.TransferEncoding == nil {
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

// await waits for more of a stream, of which nothing is left, and has no buffer meanwhile: there may be thousands that say nothing for hours. What it is
// that comes, or why nothing will, is seen by who reads it.
func (c *Call) await() {
	if c.response.ContentLength >= 0 || c.response.Body == http.NoBody || len(c.in) > 0 || c.reader.Buffered() > 0 || c.up.raw == nil {
		return
	}
	c.release()
	c.up.await()
	c.readFrom(unread{c})
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
