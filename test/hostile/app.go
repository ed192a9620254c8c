package hostile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// App is an app that writes down, byte for byte, what reaches it, and believes nothing: it has readers of its own, which take nothing that
// two servers could read differently. It answers every request with 200 and an empty body.
type App struct {
	t        testing.TB
	listener net.Listener
	served   sync.WaitGroup

	mu          sync.Mutex
	connections map[net.Conn]struct{}
	reached     []string
	faults      []string
}

// NewApp serves an app on this address until the test ends.
func NewApp(t testing.TB, address string) *App {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	a := &App{t: t, listener: listener, connections: map[net.Conn]struct{}{}}
	a.served.Go(a.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		a.mu.Lock()
		for connection := range a.connections {
			_ = connection.Close()
		}
		a.mu.Unlock()
		a.served.Wait()
	})
	return a
}

// Take returns what has reached the app since it was last asked: for each request a line "METHOD target authority", then its headers as
// "name: value", sorted, then its body and its trailers, where it has any.
func (a *App) Take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, fault := range a.faults {
		a.t.Errorf("the app got what two servers could read differently: %s", fault)
	}
	reached := a.reached
	a.reached, a.faults = nil, nil
	return reached
}

func (a *App) accept() {
	for {
		connection, err := a.listener.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		a.connections[connection] = struct{}{}
		a.mu.Unlock()
		a.served.Go(func() {
			a.serve(connection)
			_ = connection.Close()
			a.mu.Lock()
			delete(a.connections, connection)
			a.mu.Unlock()
		})
	}
}

func (a *App) serve(connection net.Conn) {
	reader := bufio.NewReader(connection)
	if preface, _ := reader.Peek(len(http2.ClientPreface)); string(preface) == http2.ClientPreface {
		_, _ = reader.Discard(len(http2.ClientPreface))
		a.serveFrames(reader, connection)
		return
	}
	for {
		seen, err := readRequest(reader)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) { // what breaks off is no request
				a.note("", err.Error())
			}
			return
		}
		a.note(seen.String(), "")
		if _, err := io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

func (a *App) note(reached, fault string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if reached != "" {
		a.reached = append(a.reached, reached)
	}
	if fault != "" {
		a.faults = append(a.faults, fault)
	}
}

// request is one request as the app got it.
type request struct {
	method, target, authority string
	fields, trailers          []string
	body                      string
}

func (r request) String() string {
	lines := []string{r.method + " " + r.target + " " + r.authority}
	slices.Sort(r.fields)
	lines = append(lines, r.fields...)
	if r.body != "" {
		lines = append(lines, "body: "+r.body)
	}
	for _, trailer := range r.trailers {
		lines = append(lines, "trailer: "+trailer)
	}
	return strings.Join(lines, "\n")
}

// readLine takes CRLF alone for the end of a line, and no control character but a tab in it.
func readLine(reader *bufio.Reader) (string, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	text, ended := strings.CutSuffix(line, "\r\n")
	if !ended || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return "", fmt.Errorf("a line with control characters: %q", line)
	}
	return text, nil
}

func readFields(reader *bufio.Reader) ([]string, error) {
	var fields []string
	for {
		line, err := readLine(reader)
		if err != nil || line == "" {
			return fields, err
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok || name == "" || strings.ContainsAny(name, " \t") || value != strings.Trim(value, " \t") {
			return nil, fmt.Errorf("a header line like %q", line)
		}
		fields = append(fields, strings.ToLower(name)+": "+value)
	}
}

// values are those of a header.
func values(fields []string, name string) []string {
	var found []string
	for _, field := range fields {
		if value, ok := strings.CutPrefix(field, name+": "); ok {
			found = append(found, value)
		}
	}
	return found
}

func readRequest(reader *bufio.Reader) (request, error) {
	line, err := readLine(reader)
	if err != nil {
		return request{}, err
	}
	parts := strings.Split(line, " ")
	if len(parts) != 3 || parts[2] != "HTTP/1.1" {
		return request{}, fmt.Errorf("a request line like %q", line)
	}
	r := request{method: parts[0], target: parts[1]}
	if r.fields, err = readFields(reader); err != nil {
		return r, err
	}
	hosts, lengths, codings := values(r.fields, "host"), values(r.fields, "content-length"), values(r.fields, "transfer-encoding")
	if len(hosts) != 1 || len(lengths)+len(codings) > 1 {
		return r, fmt.Errorf("%d hosts, lengths %q and codings %q", len(hosts), lengths, codings)
	}
	r.authority = hosts[0]
	r.fields = slices.DeleteFunc(r.fields, func(field string) bool { return strings.HasPrefix(field, "host: ") })
	switch {
	case len(lengths) == 1:
		length, malformed := strconv.ParseUint(lengths[0], 10, 20)
		if malformed != nil || strconv.FormatUint(length, 10) != lengths[0] {
			return r, fmt.Errorf("a length like %q", lengths[0])
		}
		body := make([]byte, length)
		_, err = io.ReadFull(reader, body)
		r.body = string(body)
		return r, err
	case len(codings) == 1 && codings[0] == "chunked":
		r.body, r.trailers, err = readChunks(reader)
	case len(codings) == 1:
		err = fmt.Errorf("a coding like %q", codings[0])
	}
	return r, err
}

func readChunks(reader *bufio.Reader) (body string, trailers []string, err error) {
	for {
		line, err := readLine(reader)
		if err != nil {
			return "", nil, err
		}
		size, err := strconv.ParseUint(line, 16, 20) // no extension: it is not for us to understand, nor for others
		if err != nil {
			return "", nil, fmt.Errorf("a chunk size like %q", line)
		}
		if size == 0 {
			trailers, err = readFields(reader)
			return body, trailers, err
		}
		chunk := make([]byte, size+2)
		if _, err := io.ReadFull(reader, chunk); err != nil {
			return "", nil, err
		}
		if !bytes.HasSuffix(chunk, []byte("\r\n")) {
			return "", nil, fmt.Errorf("a chunk that ends in %q", chunk[size:])
		}
		body += string(chunk[:size])
	}
}

// serveFrames is HTTP/2 for requests that come one after the other, and small.
func (a *App) serveFrames(reader *bufio.Reader, connection net.Conn) {
	framer := http2.NewFramer(connection, reader)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		return
	}
	open := map[uint32]*request{}
	finish := func(stream uint32) {
		a.note(open[stream].String(), "")
		delete(open, stream)
		var block bytes.Buffer
		_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			var malformed http2.StreamError
			if errors.As(err, &malformed) {
				a.note("", err.Error())
			}
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = framer.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			if open[frame.StreamID] == nil {
				open[frame.StreamID] = requestOf(frame)
			} else {
				for _, field := range frame.Fields {
					open[frame.StreamID].trailers = append(open[frame.StreamID].trailers, field.Name+": "+field.Value)
				}
			}
			if frame.StreamEnded() {
				finish(frame.StreamID)
			}
		case *http2.DataFrame:
			if open[frame.StreamID] == nil {
				return
			}
			open[frame.StreamID].body += string(frame.Data())
			if frame.StreamEnded() {
				finish(frame.StreamID)
			}
		case *http2.RSTStreamFrame:
			delete(open, frame.StreamID)
		}
	}
}

func requestOf(frame *http2.MetaHeadersFrame) *request {
	r := &request{method: frame.PseudoValue("method"), target: frame.PseudoValue("path"), authority: frame.PseudoValue("authority")}
	var cookies []string
	for _, field := range frame.RegularFields() {
		if field.Name == "cookie" { // may come in pieces, which make one header (RFC 9113 section 8.2.3)
			cookies = append(cookies, field.Value)
			continue
		}
		r.fields = append(r.fields, field.Name+": "+field.Value)
	}
	if len(cookies) > 0 {
		r.fields = append(r.fields, "cookie: "+strings.Join(cookies, "; "))
	}
	return r
}
