package revocation

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// The stream is text/event-stream (WHATWG HTML, section 9.2), of which the writer uses, and the reader takes, only this much: the fields
// id, event and data on one line each, comments, and an empty line after each event.

// HeartbeatSeconds is how often a server writes a heartbeat. A follower that has heard nothing for three of them should connect again.
const HeartbeatSeconds = 5

// EventKind says what an Event tells.
type EventKind string

const (
	// EventRevoke carries an Entry.
	EventRevoke EventKind = "revoke"
	// EventReset carries the Stream that the server has; its entries follow from the start.
	EventReset EventKind = "reset"
	// EventReady carries the server's Stream and Number: everything up to there has been sent.
	EventReady EventKind = "ready"
	// EventHeartbeat carries nothing: the connection lives.
	EventHeartbeat EventKind = "heartbeat"
)

// Event is one thing said on the stream.
type Event struct {
	Kind   EventKind
	Entry  Entry  // of EventRevoke
	Stream string // of EventReset and EventReady
	Number int64  // of EventReady
}

// wirePosition is the data of reset and ready.
type wirePosition struct {
	Stream string `json:"stream"`
	Number int64  `json:"number,omitempty"`
}

// WriteRevoke writes an EventRevoke.
func WriteRevoke(w io.Writer, e Entry) error {
	if err := e.check(); err != nil {
		return fmt.Errorf("revocation %d: %w", e.Number, err)
	}
	return write(w, EventRevoke, e.Number, wireEntry{Hash: e.Hash, Until: e.Until.Unix()})
}

// WriteReset writes an EventReset.
func WriteReset(w io.Writer, stream string) error {
	return write(w, EventReset, 0, wirePosition{Stream: stream})
}

// WriteReady writes an EventReady.
func WriteReady(w io.Writer, p Position) error {
	return write(w, EventReady, 0, wirePosition(p))
}

// WriteHeartbeat writes an EventHeartbeat.
func WriteHeartbeat(w io.Writer) error {
	_, err := io.WriteString(w, ": heartbeat\n\n")
	return err
}

func write(w io.Writer, kind EventKind, id int64, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if id > 0 {
		fmt.Fprintf(&out, "id: %d\n", id)
	}
	fmt.Fprintf(&out, "event: %s\ndata: %s\n\n", kind, body)
	_, err = w.Write(out.Bytes())
	return err
}

// maxLine bounds a line of the stream; the longest that a server writes has about 200 bytes.
const maxLine = 1024

// Reader reads a stream.
type Reader struct {
	in *bufio.Reader
}

// NewReader returns a Reader of r, which it reads as far as it needs to and not beyond.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, maxLine)}
}

// Next returns the next Event; io.EOF when the stream ended between two events. After any error the Reader is of no more use: a follower
// that did not understand something connects again rather than miss it.
func (r *Reader) Next() (Event, error) {
	var id, event, data string
	seen := false
	for {
		line, err := r.line()
		if errors.Is(err, io.EOF) && seen {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return Event{}, err
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "":
			if len(line) > 0 && !seen { // a comment; the empty line after it is skipped by the next call
				return Event{Kind: EventHeartbeat}, nil
			}
			if len(line) == 0 && seen {
				return parse(id, event, data)
			}
			continue
		case "id":
			id = string(value)
		case "event":
			event = string(value)
		case "data":
			data = string(value)
		default:
			return Event{}, fmt.Errorf("read revocation stream: unknown field %.20q", name)
		}
		seen = true
	}
}

// line returns one line without its end.
func (r *Reader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("read revocation stream: a line is longer than %d bytes", maxLine)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return line[:len(line)-1], nil
}

func parse(id, event, data string) (Event, error) {
	switch kind := EventKind(event); kind {
	case EventRevoke:
		var w wireEntry
		if err := strictjson.Unmarshal([]byte(data), &w); err != nil {
			return Event{}, fmt.Errorf("read revocation stream: revoke: %w", err)
		}
		number, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return Event{}, fmt.Errorf("read revocation stream: revoke: id %.20q: must be a number", id)
		}
		w.Number = number
		e := w.entry()
		if err := e.check(); err != nil {
			return Event{}, fmt.Errorf("read revocation stream: revoke: %w", err)
		}
		return Event{Kind: kind, Entry: e}, nil
	case EventReset, EventReady:
		var w wirePosition
		if err := strictjson.Unmarshal([]byte(data), &w); err != nil {
			return Event{}, fmt.Errorf("read revocation stream: %s: %w", kind, err)
		}
		if err := checkStream(w.Stream); err != nil {
			return Event{}, fmt.Errorf("read revocation stream: %s: %w", kind, err)
		}
		if w.Number < 0 {
			return Event{}, fmt.Errorf("read revocation stream: %s: number: must not be negative", kind)
		}
		return Event{Kind: kind, Stream: w.Stream, Number: w.Number}, nil
	default:
		return Event{}, fmt.Errorf("read revocation stream: unknown event %.20q", event)
	}
}

// checkStream refuses what could not be sent back in a query without thought.
func checkStream(stream string) error {
	if stream == "" || len(stream) > 64 {
		return errors.New("stream: must have 1 to 64 characters")
	}
	for _, c := range stream {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return errors.New("stream: must be letters, digits, - and _")
		}
	}
	return nil
}
