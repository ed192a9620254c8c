package gate

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
)

// cachedTokens bounds how many verified tokens a Gate remembers, and cachedBytes what it remembers of them: whoever is issued tokens may be
// issued long ones.
const (
	cachedTokens = 10_000
	cachedBytes  = 8 << 20
)

// shards keep goroutines that look up different tokens out of each other's way.
const shards = 16

// cache remembers whom verified tokens speak for, and not the tokens: one is found again by the SHA-256 of all its bytes. So no other token, and no
// other spelling of the same, finds what it is not; that would take two texts with one hash.
//
// When it is full, the token of the same shard that came first is forgotten for a new one: it is the nearest to its end, which is minutes away from
// its beginning. Only tokens that were verified get in, so nobody without one can push others out.
type cache struct {
	mostTokens, mostBytes int64
	tokens, bytes         atomic.Int64
	shards                [shards]shard
}

// identity is what a token is known by.
type identity [sha256.Size]byte

type shard struct {
	mu    sync.RWMutex
	known map[identity]*Caller
	order []identity // of known, as they came
}

func newCache(tokens, bytes int64) *cache { return &cache{mostTokens: tokens, mostBytes: bytes} }

// identify allocates nothing for tokens of the usual sizes.
func identify(token string) identity {
	var buffer [1536]byte
	return sha256.Sum256(append(buffer[:0], token...))
}

func (c *cache) shard(token identity) *shard { return &c.shards[token[0]%shards] }

func (c *cache) get(token identity) *Caller {
	s := c.shard(token)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[token]
}

func (c *cache) put(token identity, caller *Caller) {
	s := c.shard(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[identity]*Caller)
	}
	if before := s.known[token]; before != nil { // it came twice at once
		c.count(-1, before)
	} else {
		s.order = append(s.order, token)
	}
	s.known[token] = caller
	c.count(1, caller)
	for len(s.order) > 1 && (c.tokens.Load() > c.mostTokens || c.bytes.Load() > c.mostBytes) {
		first := s.order[0]
		s.order = s.order[1:]
		c.count(-1, s.known[first])
		delete(s.known, first)
	}
}

func (c *cache) count(by int64, caller *Caller) {
	c.tokens.Add(by)
	c.bytes.Add(by * int64(caller.size()))
}
