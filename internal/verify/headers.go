package verify

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// headers remembers how some headers read, since all tokens of a key begin with the same one. It is safe for use by many goroutines.
type headers [16]atomic.Pointer[spelledHeader]

type spelledHeader struct {
	spelled string // as tokens begin, in base64url
	Header
}

// longestHeader bounds what is kept of one: few are longer than 150 bytes.
const longestHeader = 512

var seed = maphash.MakeSeed()

// at is the one place where a header can be. Two that want the same one take it from each other, which costs time and nothing else.
func (h *headers) at(spelled string) *atomic.Pointer[spelledHeader] {
	return &h[maphash.String(seed, spelled)%uint64(len(h))]
}

// find returns the header, or nil if it has to be read.
func (h *headers) find(spelled string) *Header {
	if known := h.at(spelled).Load(); known != nil && known.spelled == spelled {
		return &known.Header
	}
	return nil
}

// keep is for headers of tokens that an issuer has signed: others could make up any number of them.
func (h *headers) keep(spelled string, header Header) {
	if len(spelled) <= longestHeader && h.find(spelled) == nil {
		h.at(spelled).Store(&spelledHeader{strings.Clone(spelled), header})
	}
}
