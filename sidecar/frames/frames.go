// Package frames knows where a frame of a WebSocket ends (RFC 6455 section 5.2), and the frame that ends one. It knows nothing of what frames
// carry.
package frames

import "encoding/binary"

// Follower follows what a server sends over a WebSocket, far enough to know where a frame ends: only there may another be put in. Its zero
// value stands at the beginning.
type Follower struct {
	head [10]byte
	have int    // bytes in head: of a frame whose header is not complete
	left uint64 // bytes of the payload that are to come
	over bool   // nothing may be put in any more: the server has closed, or does not speak as it should
}

const (
	final       = 0x80
	opcode      = 0x0f
	opcodeClose = 0x8
	masked      = 0x80 // only clients may do so
	length      = 0x7f
	length16    = 126
	length64    = 127
	maxControl  = 125 // bytes of payload in a control frame
)

// Between says whether a frame may be put in now.
func (f *Follower) Between() bool { return f.have == 0 && f.left == 0 && !f.over }

// Follow takes what was sent, in whatever pieces.
func (f *Follower) Follow(sent []byte) {
	for len(sent) > 0 && !f.over {
		if f.left > 0 {
			n := min(f.left, uint64(len(sent)))
			f.left -= n
			sent = sent[n:]
			continue
		}
		n := copy(f.head[f.have:f.headLength()], sent)
		f.have += n
		sent = sent[n:]
		if f.have >= 2 && f.have == f.headLength() {
			f.begin()
		}
	}
}

// headLength is how long the header is, so far as its beginning says.
func (f *Follower) headLength() int {
	switch {
	case f.have < 2:
		return 2
	case f.head[1]&length == length16:
		return 2 + 2
	case f.head[1]&length == length64:
		return 2 + 8
	}
	return 2
}

// begin comes to the payload of a frame whose header is complete.
func (f *Follower) begin() {
	f.over = f.head[0]&opcode == opcodeClose || f.head[1]&masked != 0
	switch f.have {
	case 2:
		f.left = uint64(f.head[1] & length)
	case 2 + 2:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	default:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	}
	f.have = 0
}

// The codes of RFC 6455 section 7.4.1 and of its registry.
const (
	ClosePolicyViolation uint16 = 1008
	CloseTryAgainLater   uint16 = 1013
)

// Close is the frame by which a server ends a WebSocket, and says why in words that browsers show to scripts. A reason is cut where a frame
// of this kind ends.
func Close(code uint16, reason string) []byte {
	reason = reason[:min(len(reason), maxControl-2)]
	frame := []byte{final | opcodeClose, byte(2 + len(reason))} //nolint:gosec // it was cut
	return append(binary.BigEndian.AppendUint16(frame, code), reason...)
}
