package revocation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// wireEntry is an Entry in JSON, on the stream (where the event's id is the number) and on disk.
type wireEntry struct {
	Number int64  `json:"number,omitempty"`
	Hash   string `json:"hash"`
	Until  int64  `json:"until"` // Unix seconds, as exp is
}

func (w wireEntry) entry() Entry {
	return Entry{Number: w.Number, Hash: w.Hash, Until: time.Unix(w.Until, 0).UTC()}
}

// wireSet is a Set on disk.
type wireSet struct {
	Version int         `json:"version"` // 1
	Stream  string      `json:"stream"`
	Number  int64       `json:"number"`
	Floor   int64       `json:"floor,omitempty"`
	Entries []wireEntry `json:"entries"`
}

// Encode returns the Set for a file, so that a process that starts again revokes what its predecessor revoked before it has reached the
// token service.
func (s *Set) Encode() []byte {
	s.mu.Lock()
	out := wireSet{Version: 1, Stream: s.position.Stream, Number: s.position.Number, Floor: s.floor.Load(),
		Entries: make([]wireEntry, 0, len(s.queue))}
	for _, it := range s.queue {
		out.Entries = append(out.Entries, wireEntry{Number: it.Number, Hash: it.Hash, Until: it.Until.Unix()})
	}
	s.mu.Unlock()

	slices.SortFunc(out.Entries, func(a, b wireEntry) int { return bytes.Compare([]byte(a.Hash), []byte(b.Hash)) })
	data, err := json.Marshal(out)
	if err != nil {
		panic(err) // strings and numbers only: cannot happen
	}
	return append(data, '\n')
}

// Decode reads what Encode wrote, leaving out the entries that have run out by now. Of a file that is damaged nothing is believed: the
// caller starts with an empty Set, and the token service sends everything again.
func Decode(data []byte, limit int, now time.Time) (*Set, error) {
	var in wireSet
	if err := strictjson.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	switch {
	case in.Version != 1:
		return nil, fmt.Errorf("read revocations: version: must be 1, not %d", in.Version)
	case in.Number < 0:
		return nil, errors.New("read revocations: number: must not be negative")
	case in.Floor < 0:
		return nil, errors.New("read revocations: floor: must not be negative")
	}
	if err := checkStream(in.Stream); err != nil && in.Stream != "" {
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	set := NewSet(limit)
	set.position = Position{Stream: in.Stream, Number: in.Number}
	set.floor.Store(in.Floor)
	for i, w := range in.Entries {
		e := w.entry()
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("read revocations: entries[%d]: %w", i, err)
		}
		set.add(e)
	}
	set.prune(now)
	return set, nil
}
