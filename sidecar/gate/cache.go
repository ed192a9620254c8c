package gate

import "sync"

// cachedTokens bounds how many verified tokens a Gate remembers, and cachedBytes how long they may be together: what is remembered of a
// token is some times its length, and whoever is issued tokens may be issued long ones.
const (
	cachedTokens = 10_000
	cachedBytes  = 16 << 20
)

// shards keep goroutines that look up different tokens out of each other's way.
const shards = 16

// cache remembers whom verified tokens speak for. A token is looked for by the end of its signature, which tells verified tokens apart as well
// as the whole does and is hashed in a tenth of the time, and then compared from its first byte to its last: no other spelling finds it. The tokens
// stay in memory, where their claims are, too; maps hash with a secret of their own.
//
// It is bounded without a clock or a goroutine: each shard has two generations, and when the young one is full it becomes the old one and
// the old one is forgotten. What is used stays, because a hit in the old generation moves up. Only tokens that were verified get in, so
// nobody without one can push others out.
type cache struct {
	tokens, bytes int // what one generation of a shard holds
	shards        [shards]shard
}

type shard struct {
	mu         sync.RWMutex
	young, old map[string]known // by the ends of tokens
	bytes      int              // lengths of the tokens that were put into young
}

// known is a verified token and whom it speaks for. If ever two tokens end alike, the one that was verified last is remembered.
type known struct {
	token  string
	caller *Caller
}

func newCache(tokens, bytes int) *cache {
	return &cache{tokens: tokens / shards / 2, bytes: bytes / shards / 2}
}

// endOf is what of a token the maps know: 32 characters are 192 bits of its signature.
func endOf(token string) string { return token[max(0, len(token)-32):] }

// shard is chosen by the end of the signature, of which nobody without the key can choose much.
func (c *cache) shard(token string) *shard {
	var sum byte
	for i := max(0, len(token)-8); i < len(token); i++ {
		sum = sum*31 + token[i]
	}
	return &c.shards[sum%shards]
}

func (c *cache) get(token string) *Caller {
	s, end := c.shard(token), endOf(token)
	s.mu.RLock()
	found, young := s.young[end]
	if !young {
		found = s.old[end]
	}
	s.mu.RUnlock()
	if found.caller == nil || found.token != token {
		return nil
	}
	if !young {
		c.put(found.token, found.caller)
	}
	return found.caller
}

// put keeps the token itself.
func (c *cache) put(token string, caller *Caller) {
	s := c.shard(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= c.tokens || s.bytes+len(token) > c.bytes {
		s.old, s.young, s.bytes = s.young, nil, 0
	}
	if s.young == nil {
		s.young = make(map[string]known)
	}
	s.young[endOf(token)] = known{token, caller}
	s.bytes += len(token)
}
