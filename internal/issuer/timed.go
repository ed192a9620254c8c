package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// timed is a store whose operations are measured, whatever it is. It embeds nothing, so that an operation to come is not forgotten.
type timed struct {
	store store.Store
	took  *prometheus.HistogramVec // by operation and result
}

var _ store.Store = timed{}

// tell is deferred by each operation. That there is no such session, or that a user has enough, is an answer; who hung up tells nothing of the
// store.
func (t timed) tell(ctx context.Context, operation string, began time.Time, err *error) {
	result := "ok"
	switch {
	case *err == nil, errors.Is(*err, store.ErrNotFound), errors.Is(*err, store.ErrLimit):
	case errors.Is(ctx.Err(), context.Canceled):
		result = "canceled"
	default:
		result = "error"
	}
	t.took.WithLabelValues(operation, result).Observe(time.Since(began).Seconds())
}

func (t timed) Create(ctx context.Context, s store.Session, l store.Limit, h store.Horizon) (ended []store.SessionID, err error) {
	defer t.tell(ctx, "create", time.Now(), &err)
	return t.store.Create(ctx, s, l, h)
}

func (t timed) Find(ctx context.Context, id store.SessionID) (found store.Session, err error) {
	defer t.tell(ctx, "find", time.Now(), &err)
	return t.store.Find(ctx, id)
}

func (t timed) List(ctx context.Context, user string) (all []store.Session, err error) {
	defer t.tell(ctx, "list", time.Now(), &err)
	return t.store.List(ctx, user)
}

func (t timed) Rotate(ctx context.Context, id store.SessionID, counter int64, r store.Rotation) (ok bool, err error) {
	defer t.tell(ctx, "rotate", time.Now(), &err)
	return t.store.Rotate(ctx, id, counter, r)
}

func (t timed) Extend(ctx context.Context, id store.SessionID, counter int64, accessUntil time.Time) (ok bool, err error) {
	defer t.tell(ctx, "extend", time.Now(), &err)
	return t.store.Extend(ctx, id, counter, accessUntil)
}

func (t timed) End(ctx context.Context, id store.SessionID, now time.Time) (ok bool, err error) {
	defer t.tell(ctx, "end", time.Now(), &err)
	return t.store.End(ctx, id, now)
}

func (t timed) EndAll(ctx context.Context, user string, except store.SessionID, now time.Time) (ended []store.SessionID, err error) {
	defer t.tell(ctx, "end_all", time.Now(), &err)
	return t.store.EndAll(ctx, user, except, now)
}

func (t timed) Stream(ctx context.Context) (name string, last int64, err error) {
	defer t.tell(ctx, "stream", time.Now(), &err)
	return t.store.Stream(ctx)
}

func (t timed) Revocations(ctx context.Context, after int64, limit int) (found []store.Revocation, err error) {
	defer t.tell(ctx, "revocations", time.Now(), &err)
	return t.store.Revocations(ctx, after, limit)
}

// Follow lasts, and is not timed.
func (t timed) Follow(ctx context.Context, changed func()) { t.store.Follow(ctx, changed) }

func (t timed) Count(ctx context.Context, key store.CounterKey, window time.Duration, now time.Time) (hits int, until time.Time, err error) {
	defer t.tell(ctx, "count", time.Now(), &err)
	return t.store.Count(ctx, key, window, now)
}

func (t timed) Uncount(ctx context.Context, key store.CounterKey, now time.Time) (err error) {
	defer t.tell(ctx, "uncount", time.Now(), &err)
	return t.store.Uncount(ctx, key, now)
}

func (t timed) Time(ctx context.Context, now time.Time) (shared time.Time, err error) {
	defer t.tell(ctx, "time", time.Now(), &err)
	return t.store.Time(ctx, now)
}

func (t timed) Prune(ctx context.Context, h store.Horizon, now time.Time, limit int) (sessions, revocations int, err error) {
	defer t.tell(ctx, "prune", time.Now(), &err)
	return t.store.Prune(ctx, h, now, limit)
}

func (t timed) Sessions(ctx context.Context) (sessions int, err error) {
	defer t.tell(ctx, "sessions", time.Now(), &err)
	return t.store.Sessions(ctx)
}

// Close lets go of the store.
func (t timed) Close() error { return t.store.Close() }
