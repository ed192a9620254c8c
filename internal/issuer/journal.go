package issuer

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/session"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

const (
	// lookEvery is how often the journal looks without being told, for what another process has written or what an error has hidden.
	lookEvery = time.Second
	// lateness is how long a request may have been at work when the store went away.
	lateness = 5 * time.Second
	// longestStall is how far back refreshes count that had to wait, and were answered in the end or not. Without a bound, who floods a token service for an hour could
	// use for an hour what was replaced meanwhile.
	longestStall = time.Minute
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
	stream  string // empty: nothing has been read yet
	last    int64  // everything up to here is in
	newest  int64  // number of the last entry
	entries []store.Revocation
	changed chan struct{} // closed when there are new ones
	err     error         // of the last look
	good    time.Time     // when the last look began that went well; zero: none yet
	stalled time.Time     // when the first refresh came that had to wait, of those since the last one that had not; zero: none has
	outage  session.Outage
}

func newJournal(s store.Store, now func() time.Time, log *slog.Logger) *journal {
	return &journal{store: s, now: now, log: log, wake: make(chan struct{}, 1), changed: make(chan struct{}),
		err: errors.New("revocations have not been read yet")}
}

// advance says that there may be something new.
func (j *journal) advance() {
	select {
	case j.wake <- struct{}{}:
	default: // a look is due that has not begun, and will see it
	}
}

// errSetBack says that the database is not the one it was, or is an older copy of it.
var errSetBack = errors.New("another database, or an older copy, is where the sessions were: starting anew")

// follow looks whenever there may be something new, until ctx is done or the database was set back.
func (j *journal) follow(ctx context.Context) error {
	var told sync.WaitGroup
	defer told.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	told.Go(func() { j.store.Follow(ctx, j.advance) })

	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	failing := false
	for {
		err := j.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errSetBack):
			return err
		case err != nil && !failing:
			j.log.Error("revocations not read; trying again", "error", err)
		case err == nil && failing:
			j.log.Info("revocations are read again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-j.wake:
		case <-ticker.C:
		}
	}
}

// look takes in what the store has beyond the last number. There is never more than one look at a time.
func (j *journal) look(ctx context.Context) error {
	began := j.now()
	stream, last, err := j.store.Stream(ctx)
	if err != nil {
		j.failed(err)
		return err
	}
	from := j.since(0)
	if from.stream != "" && (stream != from.stream || last < from.last) {
		return errSetBack
	}
	for after := from.newest; ; {
		found, err := j.store.Revocations(ctx, after, page)
		if err != nil {
			j.failed(err)
			return err
		}
		j.add(found)
		if len(found) < page {
			break
		}
		after = found[len(found)-1].Number
	}
	j.read(stream, last, began)
	return nil
}

func (j *journal) failed(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = err
}

// read says that everything is in that the store had when it said so.
func (j *journal) read(stream string, last int64, began time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now := j.now(); !j.good.IsZero() && (j.err != nil || now.Sub(began) > lookEvery) {
		j.outage = j.outageUntil(now)
	}
	j.good = began
	j.stream, j.last, j.err = stream, max(j.last, last), nil // the last ones may have run out and be gone
}

func (j *journal) add(found []store.Revocation) {
	now := j.now()
	j.mu.Lock()
	defer j.mu.Unlock()
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
		j.newest = found[len(found)-1].Number
		j.last = max(j.last, j.newest)
		close(j.changed)
		j.changed = make(chan struct{})
	}
}

// lastOutage is the last time that the store could not be read or not be written, which may last still.
func (j *journal) lastOutage() session.Outage {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil && !j.good.IsZero() {
		return j.outageUntil(j.now())
	}
	return j.outage
}

// wrote takes note of a refresh that had come at a time, and has been written or not. There are databases that can be read while they cannot be written: a disk stalls, or a
// standby that must have everything is away.
func (j *journal) wrote(came time.Time, err error) {
	now := j.now()
	j.mu.Lock()
	defer j.mu.Unlock()
	switch waited := now.Sub(came) > lookEvery; {
	case !waited && err == nil:
		j.stalled = time.Time{}
	case waited && !j.good.IsZero():
		if j.stalled.IsZero() || came.Before(j.stalled) {
			j.stalled = came
		}
		if furthest := now.Add(-longestStall); j.stalled.Before(furthest) {
			j.stalled = furthest
		}
		j.outage = session.Outage{From: j.stalled.Add(-lateness), To: now}
	}
}

// outageUntil is an outage since the last good look, or since refreshes had to wait before that. What was asked shortly before that may have been answered too late for
// its client.
func (j *journal) outageUntil(now time.Time) session.Outage {
	from := j.good
	if !j.stalled.IsZero() && j.stalled.Before(from) {
		from = j.stalled
	}
	return session.Outage{From: from.Add(-lateness), To: now}
}

// excerpt is what a journal holds at one moment, from some number on.
type excerpt struct {
	stream  string             // empty: nothing has been read yet
	entries []store.Revocation // some may have run out
	last    int64              // nothing up to here is missing
	newest  int64              // number of the last entry; 0: there was none yet
	changed <-chan struct{}    // closed when there is more
	err     error              // why the store cannot be read
}

// since returns what was revoked with numbers above after.
func (j *journal) since(after int64) excerpt {
	j.mu.Lock()
	defer j.mu.Unlock()
	from, _ := slices.BinarySearchFunc(j.entries, after+1, func(r store.Revocation, number int64) int { return cmp.Compare(r.Number, number) })
	return excerpt{stream: j.stream, entries: j.entries[from:], last: j.last, newest: j.newest, changed: j.changed, err: j.err}
}
