package issuer

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

const (
	// lookEvery is how often the journal looks without being told, for what another process has written or what an error has hidden.
	lookEvery = time.Second
	// page is how many revocations are read at once.
	page = 1000
)

// journal holds the revocations that are in force, in the order of their numbers, so that a thousand streams cost the store no more than one.
// What it holds is always what the store had up to some number.
type journal struct {
	store store.Store
	now   func() time.Time
	log   *slog.Logger
	wake  chan struct{} // of capacity 1: there may be something new

	mu      sync.Mutex
	stream  string
	last    int64
	entries []store.Revocation
	changed chan struct{} // closed when there are new ones
	err     error         // of the last look
}

// newJournal reads what is in force.
func newJournal(ctx context.Context, s store.Store, now func() time.Time, log *slog.Logger) (*journal, error) {
	stream, last, err := s.Stream(ctx)
	if err != nil {
		return nil, err
	}
	j := &journal{store: s, now: now, log: log, wake: make(chan struct{}, 1), stream: stream, changed: make(chan struct{})}
	if err := j.look(ctx); err != nil {
		return nil, err
	}
	j.last = max(j.last, last) // the last ones may have run out and be gone
	return j, nil
}

// advance says that there may be something new.
func (j *journal) advance() {
	select {
	case j.wake <- struct{}{}:
	default: // a look is due that has not begun, and will see it
	}
}

// follow looks whenever there may be something new, until ctx is done.
func (j *journal) follow(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.wake:
		case <-ticker.C:
		}
		if err := j.look(ctx); err != nil && ctx.Err() == nil {
			j.log.Error("revocations not read; trying again", "error", err)
		}
	}
}

// look takes in what the store has beyond the last number. There is never more than one look at a time.
func (j *journal) look(ctx context.Context) error {
	for {
		_, last, _, _ := j.since(0)
		found, err := j.store.Revocations(ctx, last, page)
		j.add(found, err)
		if err != nil || len(found) < page {
			return err
		}
	}
}

func (j *journal) add(found []store.Revocation, err error) {
	now := j.now()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = err
	// Streams may be reading the slice. Appending leaves what they see as it is; leaving out takes a new slice, so it waits until it pays.
	over := func(r store.Revocation) bool { return !r.Until.After(now) }
	dead := 0
	for _, r := range j.entries {
		if over(r) {
			dead++
		}
	}
	if dead > 0 && 2*dead >= len(j.entries) {
		j.entries = slices.DeleteFunc(slices.Clone(j.entries), over)
	}
	j.entries = append(j.entries, found...)
	if len(found) > 0 {
		j.last = found[len(found)-1].Number
		close(j.changed)
		j.changed = make(chan struct{})
	}
}

// since returns what was revoked with numbers above after, some of which may have run out, the last number, whether the store can be read, and a channel that is closed when
// there is more.
func (j *journal) since(after int64) (entries []store.Revocation, last int64, changed <-chan struct{}, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from, _ := slices.BinarySearchFunc(j.entries, after+1, func(r store.Revocation, number int64) int { return cmp.Compare(r.Number, number) })
	return j.entries[from:], j.last, j.changed, j.err
}
