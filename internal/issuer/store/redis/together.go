package redis

import (
	"context"
	"errors"
	"fmt"

	goredis "github.com/redis/go-redis/v9"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// goesAtOnce is how many pipelines may be under way that find sessions, and how many that rotate them. Who has just missed it waits for two round trips, which
// are short; with two, 32 clients were answered a fifth less often, since each pipeline had little to do.
const goesAtOnce = 1

// rotation is what Rotate was asked for.
type rotation struct {
	id      store.SessionID
	counter int64
	to      store.Rotation
}

func (r rotation) arguments() []any {
	return []any{r.id.String(), r.counter, r.counter + 1, r.to.At.UnixMilli(), r.to.AccessUntil.Unix(), r.to.Device.Address, r.to.Device.UserAgent}
}

// reach is where to ask, and for how long, on behalf of several callers.
func (s *Store) reach() (*goredis.Client, context.Context, context.CancelFunc) {
	client, _ := s.remote.Used() // whoever asks has been here before
	ctx, cancel := context.WithTimeout(context.Background(), s.remote.Bound())
	return client, ctx, cancel
}

var errUnanswered = errors.New("redis has not answered")

// together runs one pipeline, with a command for each of a batch, and returns what Redis told of each. To a command for which it got no connection because
// Redis refused to have one (a password has changed, or it reads its log yet) the driver gives neither an answer nor an error.
func together[Q, A any, C goredis.Cmder](ctx context.Context, client *goredis.Client, batch []*store.Asked[Q, A], command func(goredis.Pipeliner, Q) C) []C {
	told := make([]C, len(batch))
	_, err := client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i, each := range batch {
			told[i] = command(p, each.Question)
			told[i].SetErr(errUnanswered) // until it is
		}
		return nil
	})
	for _, each := range told {
		if err != nil && errors.Is(each.Err(), errUnanswered) {
			each.SetErr(err)
		}
	}
	return told
}

// findAll finds sessions by one pipeline.
func (s *Store) findAll(batch []*store.Asked[store.SessionID, store.Session]) {
	client, ctx, cancel := s.reach()
	defer cancel()
	told := together(ctx, client, batch, func(p goredis.Pipeliner, id store.SessionID) *goredis.SliceCmd {
		return p.HMGet(ctx, prefix+"session:"+id.String(), "user", "secret", "counter", "created", "rotated", "until", "address", "agent", "data")
	})
	for i, each := range batch {
		each.Settle(found(each.Question, told[i]))
	}
}

// found reads a session.
func found(id store.SessionID, told *goredis.SliceCmd) (store.Session, error) {
	values, err := told.Result()
	if err != nil {
		return store.Session{}, err
	}
	if values[0] == nil {
		return store.Session{}, store.ErrNotFound
	}
	texts, err := whole(values, 9)
	if err != nil {
		return store.Session{}, err
	}
	one, err := session(texts[2:])
	if err == nil && len(texts[1]) != len(one.Secret) {
		err = fmt.Errorf("its secret has %d bytes", len(texts[1]))
	}
	one.ID, one.User = id, texts[0]
	copy(one.Secret[:], texts[1])
	return one, err
}

// rotateAll rotates sessions by one pipeline, each by a script of its own. Redis writes its log once for all.
func (s *Store) rotateAll(batch []*store.Asked[rotation, bool]) {
	client, ctx, cancel := s.reach()
	defer cancel()
	told := together(ctx, client, batch, func(p goredis.Pipeliner, r rotation) *goredis.Cmd {
		return p.EvalSha(ctx, rotating.Hash(), nil, r.arguments()...)
	})
	for i, each := range batch {
		if goredis.HasErrorPrefix(told[i].Err(), "NOSCRIPT") { // it was started anew
			told[i] = rotating.Run(ctx, client, nil, each.Question.arguments()...)
		}
		each.Settle(told[i].Bool())
	}
}
