package gate

import (
	"crypto/sha256"
	"sync"
)

// cachedTokens bounds how many verified tokens a Gate remembers.
const cachedTokens = 10_000

// shards keep goroutines that look up different tokens out of each other's way.
const shards = 16

type tokenHash = [sha256.Size]byte

// cache remembers whom verified tokens speak for, by the hash of the whole token. It is bounded without a clock or a goroutine: each shard
// has two generations, and when the young one is full it becomes the old one and the old one is forgotten. What is used stays, because a
// hit in the old generation moves up. Only tokens that were verified get in, so nobody without one can push others out.
type cache struct {
	generation int // how many tokens one generation of a shard holds
	shards     [shards]shard
}

type shard struct {
	mu         sync.RWMutex
	young, old map[tokenHash]*Caller
}

func newCache(limit int) *cache {
	return &cache{generation: limit / shards / 2}
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
	if len(s.young) >= c.generation {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = make(map[tokenHash]*Caller)
	}
	s.young[key] = caller
}
