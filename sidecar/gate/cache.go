package gate

import (
	"crypto/sha256"
	"sync"
)

// cachedTokens bounds how many verified tokens a Gate remembers, and cachedBytes how long they may be together: what is remembered of a
// token is some times its length, and whoever is issued tokens may be issued long ones.
const (
	cachedTokens = 10_000
	cachedBytes  = 16 << 20
)

// shards keep goroutines that look up different tokens out of each other's way.
const shards = 16

type tokenHash = [sha256.Size]byte

// cache remembers whom verified tokens speak for, by the hash of the whole token. It is bounded without a clock or a goroutine: each shard
// has two generations, and when the young one is full it becomes the old one and the old one is forgotten. What is used stays, because a
// hit in the old generation moves up. Only tokens that were verified get in, so nobody without one can push others out.
type cache struct {
	tokens, bytes int // what one generation of a shard holds
	shards        [shards]shard
}

type shard struct {
	mu         sync.RWMutex
	young, old map[tokenHash]*Caller
	bytes      int // lengths of the tokens that were put into young
}

func newCache(tokens, bytes int) *cache {
	return &cache{tokens: tokens / shards / 2, bytes: bytes / shards / 2}
}

func (c *cache) get(key tokenHash) *Caller {
	s := &c.shards[key[0]%shards]
	s.mu.RLock()
	caller := s.young[key]
	aged := caller == nil
	if aged {
		caller = s.old[key]
	}
	s.mu.RUnlock()
	if aged && caller != nil {
		c.put(key, caller)
	}
	return caller
}

func (c *cache) put(key tokenHash, caller *Caller) {
	s := &c.shards[key[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= c.tokens || s.bytes+caller.length > c.bytes {
		s.old, s.young, s.bytes = s.young, nil, 0
	}
	if s.young == nil {
		s.young = make(map[tokenHash]*Caller)
	}
	s.young[key] = caller
	s.bytes += caller.length
}
