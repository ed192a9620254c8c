package issuer

import (
	"bytes"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/revocation"
)

const (
	// maxStreams bounds the followers: each is one sidecar, and takes 57 KB of the 512 MiB that the container has.
	maxStreams = 4_000
	// writeTimeout is how long a follower may take to read what it is sent. One that is slower is cut off, and resumes.
	writeTimeout = 10 * time.Second
	// maxWords is how many revocations are kept in words for the next follower, 130 bytes each.
	maxWords = 10_000
)

// streams tells followers what has been revoked: GET /revocations?stream=<name>&after=<number>, both as the follower knows them from before.
// The format is that of package revocation.
type streams struct {
	journal   *journal
	materials *materials
	metrics   *metrics
	stopping  <-chan struct{} // closed when the server shuts down, which waits for requests to end
	open      atomic.Int64
	latest    atomic.Pointer[written]
}

// written are revocations as they go over the wire. Followers that are up to date all get the same next, so it is put into words once.
type written struct {
	issuer      string
	after, last int64 // from whose numbers up to whose
	wire        []byte
	err         error
}

// words returns the wire form of entries for who has everything up to after.
func (s *streams) words(issuer string, after int64, entries []store.Revocation) ([]byte, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	last := entries[len(entries)-1].Number
	if w := s.latest.Load(); w != nil && w.issuer == issuer && w.after == after && w.last == last {
		return w.wire, w.err
	}
	var wire bytes.Buffer
	w := &written{issuer: issuer, after: after, last: last}
	for _, e := range entries {
		entry := revocation.Entry{Number: e.Number, Until: e.Until, Hash: revocation.SessionHash(issuer, e.Session.String())}
		if w.err = revocation.WriteRevoke(&wire, entry); w.err != nil {
			break
		}
	}
	w.wire = wire.Bytes()
	if len(entries) <= maxWords {
		s.latest.Store(w)
	}
	return w.wire, w.err
}

func (s *streams) serve(w http.ResponseWriter, r *http.Request, m *material) error {
	if !m.sidecars.ShownBy(r.Header) {
		return errNoSidecar // or whoever reaches the pod could take all the places
	}
	// From the URL alone: FormValue would read a multipart body as well, and put as much of it on disk as anybody sends.
	query := r.URL.Query()
	after, err := strconv.ParseInt(query.Get("after"), 10, 64)
	if (err != nil || after < 0) && query.Get("after") != "" {
		return malformed("after must be a number")
	}
	if s.journal.since(after).stream == "" {
		return errUnavailable // a follower keeps what it has, and comes again
	}
	if s.open.Add(1) > maxStreams {
		s.open.Add(-1)
		return errBusy
	}
	s.metrics.streams.Inc()
	defer func() {
		s.metrics.streams.Dec()
		s.open.Add(-1)
	}()

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	s.tell(w, r, m.config.Issuer, query.Get("stream"), after)
	return nil // whatever ended it, the follower knows, and comes again
}

// tell writes until the follower goes or the server does.
func (s *streams) tell(w http.ResponseWriter, r *http.Request, issuer, stream string, after int64) {
	control := http.NewResponseController(w)
	heartbeat := time.NewTicker(revocation.HeartbeatSeconds * time.Second)
	defer heartbeat.Stop()

	now := s.journal.since(after)
	reset := stream != now.stream || after > now.last // a higher number: the database was set back
	if reset {
		after = 0
	}
	ready, beat := false, false
	for {
		now := s.journal.since(after)
		if s.materials.load().config.Issuer != issuer {
			return // sessions have another hash from now on: the follower comes again and gets that
		}
		if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return
		}
		if reset {
			if revocation.WriteReset(w, now.stream) != nil {
				return
			}
			reset = false
		}
		wire, err := s.words(issuer, after, now.entries)
		if err != nil {
			return
		}
		if _, err := w.Write(wire); err != nil {
			return
		}
		after = now.last
		if !ready {
			if revocation.WriteReady(w, revocation.Position{Stream: now.stream, Number: now.last}) != nil {
				return
			}
			ready = true
		}
		if beat && revocation.WriteHeartbeat(w) != nil {
			return
		}
		if control.Flush() != nil {
			return
		}
		beat = false
		select {
		case <-now.changed:
		case <-heartbeat.C:
			beat = true
		case <-r.Context().Done():
			return
		case <-s.stopping:
			return
		}
	}
}
