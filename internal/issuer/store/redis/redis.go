// Package redis keeps sessions in Redis. It knows Redis' commands, connections and durability; it decides nothing about sessions.
//
// Each operation is one command or one script, which Redis runs alone and writes to its log as one. Every connection proves first that its
// database is fit to be used (see prove), so there is nothing to do when a server was away, restarted, restored or replaced.
package redis

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// prefix is before every key; see scripts/all.lua.
const prefix = "{latchkey}:"

// Store is a store.Store in Redis.
type Store struct {
	owner  string
	remote store.Remote[*goredis.Client]

	finds     store.Together[store.SessionID, store.Session]
	rotations store.Together[rotation, bool]

	pruning sync.Mutex
	pruned  uint64 // the cursor of the SCAN that Prune goes on with
}

var _ store.Store = (*Store)(nil)

// Options is what a Store needs to know.
type Options struct {
	Owner    string        // the TokenIssuer whose sessions these are, as namespace/name
	Patience time.Duration // how long one operation may take; 0: store.Patience
}

// New returns a Store. It is of no use before Use. It connects when it is asked
// for something, and again whenever it has to.
func New(o Options) *Store {
	goredis.SetLogger(silence{}) // it writes text of its own beside the log; what fails comes back as an error
	s := &Store{owner: o.Owner, remote: store.Remote[*goredis.Client]{Patience: o.Patience}}
	s.finds.AtOnce, s.finds.Go = goesAtOnce, s.findAll
	s.rotations.AtOnce, s.rotations.Go = goesAtOnce, s.rotateAll
	return s
}

// silence is a logger that says nothing.
type silence struct{}

// Printf says nothing.
func (silence) Printf(context.Context, string, ...any) {}

// Close ends all connections.
func (s *Store) Close() (err error) {
	if client, ok := s.remote.Used(); ok {
		err = client.Close()
	}
	s.finds.Wait()
	s.rotations.Wait()
	return err
}

const leeway = int64(revocation.Leeway / time.Second)

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, n store.Session, l store.Limit, h store.Horizon) ([]store.SessionID, error) {
	return store.Ask(ctx, &s.remote, "create session", func(ctx context.Context, client *goredis.Client) ([]store.SessionID, error) {
		refuse := 0
		if l.Refuse {
			refuse = 1
		}
		ids, err := creating.Run(ctx, client, nil, n.ID.String(), n.User, n.Secret[:], n.Counter, n.CreatedAt.UnixMilli(), n.RotatedAt.UnixMilli(),
			n.AccessUntil.Unix(), n.Device.Address, n.Device.UserAgent, n.Data,
			l.Sessions, refuse, h.CreatedBefore.UnixMilli(), h.RotatedBefore.UnixMilli(), leeway).StringSlice()
		if errors.Is(err, goredis.Nil) {
			return nil, store.ErrLimit
		}
		if err != nil {
			return nil, err
		}
		return sessionIDs(ids)
	})
}

// Find implements store.Store.
func (s *Store) Find(ctx context.Context, id store.SessionID) (store.Session, error) {
	return store.Ask(ctx, &s.remote, "find session", func(ctx context.Context, _ *goredis.Client) (store.Session, error) { return s.finds.Ask(ctx, id) })
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, user string) ([]store.Session, error) {
	return store.Ask(ctx, &s.remote, "list sessions", func(ctx context.Context, client *goredis.Client) (all []store.Session, _ error) {
		rows, err := listing.Run(ctx, client, nil, user).Slice()
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			values, _ := row.([]any)
			texts, err := whole(values, 8)
			if err != nil {
				return nil, err
			}
			found, err := session(texts[1:])
			if err != nil {
				return nil, err
			}
			if found.ID, err = sessionID(texts[0]); err != nil {
				return nil, err
			}
			found.User = user
			all = append(all, found)
		}
		return all, nil
	})
}

// whole is what Redis has answered: so many values, and none that is not there.
func whole(values []any, count int) ([]string, error) {
	texts := make([]string, 0, count)
	for _, value := range values {
		if text, ok := value.(string); ok {
			texts = append(texts, text)
		}
	}
	if len(texts) != count {
		return nil, errors.New("part of a session is missing")
	}
	return texts, nil
}

// session reads counter, created, rotated, until, address, agent and data.
func session(texts []string) (store.Session, error) {
	var numbers [4]int64
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.ParseInt(texts[i], 10, 64); err != nil {
			return store.Session{}, fmt.Errorf("a number of a session is none: %.40q", texts[i])
		}
	}
	return store.Session{Counter: numbers[0], CreatedAt: time.UnixMilli(numbers[1]), RotatedAt: time.UnixMilli(numbers[2]), AccessUntil: time.Unix(numbers[3], 0),
		Device: store.Device{Address: texts[4], UserAgent: texts[5]}, Data: texts[6]}, nil
}

// Rotate implements store.Store.
func (s *Store) Rotate(ctx context.Context, id store.SessionID, counter int64, r store.Rotation) (bool, error) {
	return store.Ask(ctx, &s.remote, "rotate session", func(ctx context.Context, _ *goredis.Client) (bool, error) {
		return s.rotations.Ask(ctx, rotation{id, counter, r})
	})
}

// Extend implements store.Store.
func (s *Store) Extend(ctx context.Context, id store.SessionID, counter int64, accessUntil time.Time) (bool, error) {
	return s.change(ctx, "extend session", extending, id.String(), counter, accessUntil.Unix())
}

// End implements store.Store.
func (s *Store) End(ctx context.Context, id store.SessionID, now time.Time) (bool, error) {
	return s.change(ctx, "end session", ending, id.String(), now.UnixMilli(), leeway)
}

// change runs a script that changes something under a condition, and reports whether the condition was met.
func (s *Store) change(ctx context.Context, doing string, script *goredis.Script, arguments ...any) (bool, error) {
	return store.Ask(ctx, &s.remote, doing, func(ctx context.Context, client *goredis.Client) (bool, error) {
		return script.Run(ctx, client, nil, arguments...).Bool()
	})
}

// EndAll implements store.Store.
func (s *Store) EndAll(ctx context.Context, user string, except store.SessionID, now time.Time) ([]store.SessionID, error) {
	return store.Ask(ctx, &s.remote, "end sessions", func(ctx context.Context, client *goredis.Client) ([]store.SessionID, error) {
		ids, err := endingAll.Run(ctx, client, nil, user, except.String(), now.UnixMilli(), leeway).StringSlice()
		if err != nil {
			return nil, err
		}
		return sessionIDs(ids)
	})
}

// Stream implements store.Store.
func (s *Store) Stream(ctx context.Context) (name string, last int64, _ error) {
	type stream struct {
		Name string `redis:"name"`
		Last int64  `redis:"last"`
	}
	kept, err := store.Ask(ctx, &s.remote, "read revocation stream", func(ctx context.Context, client *goredis.Client) (kept stream, _ error) {
		err := client.HMGet(ctx, prefix+"stream", "name", "last").Scan(&kept)
		if err == nil && kept.Name == "" {
			err = errors.New("it has been emptied")
		}
		return kept, err
	})
	return kept.Name, kept.Last, err
}

// Revocations implements store.Store.
func (s *Store) Revocations(ctx context.Context, after int64, limit int) ([]store.Revocation, error) {
	return store.Ask(ctx, &s.remote, "read revocations", func(ctx context.Context, client *goredis.Client) ([]store.Revocation, error) {
		entries, err := client.ZRangeArgs(ctx, goredis.ZRangeArgs{Key: prefix + "revocations", ByScore: true,
			Start: "(" + strconv.FormatInt(after, 10), Stop: "+inf", Count: int64(limit)}).Result()
		if err != nil {
			return nil, err
		}
		found := make([]store.Revocation, len(entries))
		for i, entry := range entries {
			if found[i], err = parse(entry); err != nil {
				return nil, err
			}
		}
		return found, nil
	})
}

// parse reads an entry: number:until:sid.
func parse(entry string) (store.Revocation, error) {
	parts := strings.SplitN(entry, ":", 3)
	if len(parts) < 3 {
		return store.Revocation{}, fmt.Errorf("a revocation is none: %.80q", entry)
	}
	number, faultyNumber := strconv.ParseInt(parts[0], 10, 64)
	until, faultyUntil := strconv.ParseInt(parts[1], 10, 64)
	id, faultyID := sessionID(parts[2])
	if err := errors.Join(faultyNumber, faultyUntil, faultyID); err != nil {
		return store.Revocation{}, fmt.Errorf("a revocation is none: %w", err)
	}
	return store.Revocation{Number: number, Session: id, Until: time.Unix(until, 0)}, nil
}

// Count implements store.Store.
func (s *Store) Count(ctx context.Context, key store.CounterKey, window time.Duration, now time.Time) (hits int, until time.Time, _ error) {
	counted, err := store.Ask(ctx, &s.remote, "count", func(ctx context.Context, client *goredis.Client) ([]int64, error) {
		return counting.Run(ctx, client, nil, hex.EncodeToString(key[:]), now.UnixMilli(), window.Milliseconds()).Int64Slice()
	})
	if err != nil {
		return 0, time.Time{}, err
	}
	return int(counted[0]), time.UnixMilli(counted[1]), nil
}

// Uncount implements store.Store.
func (s *Store) Uncount(ctx context.Context, key store.CounterKey, now time.Time) error {
	_, err := s.change(ctx, "uncount", uncounting, hex.EncodeToString(key[:]), now.UnixMilli())
	return err
}

// Time implements store.Store: the server's clock is the one that counts.
func (s *Store) Time(ctx context.Context, _ time.Time) (time.Time, error) {
	return store.Ask(ctx, &s.remote, "ask the time", func(ctx context.Context, client *goredis.Client) (time.Time, error) {
		return client.Time(ctx).Result()
	})
}

const (
	// part is how many keys one Prune looks at, and page how many at once: nobody else is served meanwhile, for a millisecond or two.
	part = 20_000
	page = 500
)

// Prune implements store.Store. Counters go by themselves.
func (s *Store) Prune(ctx context.Context, h store.Horizon, now time.Time, limit int) (sessions, revocations int, _ error) {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	sessions, err := store.Ask(ctx, &s.remote, "prune sessions", func(ctx context.Context, client *goredis.Client) (swept int, _ error) {
		for seen := 0; seen < part; seen += page {
			keys, next, err := client.Scan(ctx, s.pruned, prefix+"session:*", page).Result()
			if err != nil {
				return swept, err
			}
			arguments := []any{now.UnixMilli(), leeway, h.CreatedBefore.UnixMilli(), h.RotatedBefore.UnixMilli(), limit - swept}
			for _, key := range keys {
				arguments = append(arguments, strings.TrimPrefix(key, prefix+"session:"))
			}
			gone, err := sweeping.Run(ctx, client, nil, arguments...).Int()
			if swept += gone; err != nil || swept >= limit {
				return swept, err // the page may hold more: the next Prune looks at it again
			}
			if s.pruned = next; next == 0 {
				break
			}
		}
		return swept, nil
	})
	if err != nil {
		return sessions, 0, err
	}
	revocations, err = store.Ask(ctx, &s.remote, "prune revocations", func(ctx context.Context, client *goredis.Client) (int, error) {
		return forgetting.Run(ctx, client, nil, now.Unix(), limit).Int()
	})
	return sessions, revocations, err
}

// Sessions implements store.Store. Keys lie in the order of their hashes, so the first are a sample of all.
func (s *Store) Sessions(ctx context.Context) (int, error) {
	return store.Ask(ctx, &s.remote, "count sessions", func(ctx context.Context, client *goredis.Client) (int, error) {
		keys, next, err := client.Scan(ctx, 0, "", store.Sample).Result()
		if err != nil {
			return 0, err
		}
		read := 0
		for _, key := range keys {
			if strings.HasPrefix(key, prefix+"session:") {
				read++
			}
		}
		if next == 0 || read == 0 {
			return read, nil
		}
		all, err := client.DBSize(ctx).Result()
		return int(all * int64(read) / int64(len(keys))), err
	})
}

func sessionIDs(texts []string) ([]store.SessionID, error) {
	var ids []store.SessionID
	for _, text := range texts {
		id, err := sessionID(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func sessionID(text string) (id store.SessionID, _ error) {
	raw, err := base64url.Decode(text)
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("a session id is none: %.40q", text)
	}
	return store.SessionID(raw), nil
}
