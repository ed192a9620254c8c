package frames_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/sidecar/frames"
)

func TestFollowerKnowsWhereAFrameMayBePutIn(t *testing.T) {
	for _, tc := range []struct {
		name string
		sent string
		want bool
	}{
		{"at the beginning", "", true},
		{"in a header", "\x81", false},
		{"in a header of 16 bits", "\x81\x7e\x00", false},
		{"in a header of 64 bits", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00", false},
		{"in a payload", "\x81\x02a", false},
		{"behind a frame", "\x81\x02ab", true},
		{"behind an empty one", "\x81\x00", true},
		{"behind one of 16 bits", "\x82\x7e\x00\x03abc", true},
		{"behind one of 64 bits", "\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03abc", true},
		{"between the fragments of a message", "\x01\x01a", true},
		{"behind a compressed one", "\xc1\x01a", true},
		{"behind a ping", "\x89\x00", true},
		{"behind the server's own close", "\x88\x02\x03\xe8", false},
		{"behind a masked one", "\x81\x81\x00\x00\x00\x00a", false},
		{"in one that never ends", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffabc", false},
	} {
		var f frames.Follower
		f.Follow([]byte(tc.sent))
		if got := f.Between(); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestCloseFits(t *testing.T) {
	if diff := cmp.Diff(frames.Close(frames.ClosePolicyViolation, "expired"), []byte("\x88\x09\x03\xf0expired")); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	if got := frames.Close(frames.CloseTryAgainLater, strings.Repeat("x", 200)); len(got) != 2+125 || got[1] != 125 {
		t.Errorf("got %d bytes that say %d, want the 125 that a control frame has", len(got), got[1])
	}
}

// In whatever pieces the bytes come, the same is known of them; and behind whole frames of every length there is room for another.
func FuzzFollower(f *testing.F) {
	f.Add([]byte("\x81\x02ab\x82\x7e\x00\x03abc"), 1, uint16(0))
	f.Add([]byte("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03abc"), 3, uint16(126))
	f.Add([]byte("\x88\x02\x03\xe8\x81"), 2, uint16(65535))
	f.Add([]byte("\x81\x81\x00\x00\x00\x00a"), 7, uint16(125))
	f.Fuzz(func(t *testing.T, sent []byte, piece int, size uint16) {
		var whole, pieces frames.Follower
		whole.Follow(sent)
		piece = max(1, piece)
		for rest := sent; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			pieces.Follow(rest[:min(piece, len(rest))])
		}
		if whole != pieces {
			t.Fatalf("got %+v of pieces of %d bytes, want %+v as of all at once", pieces, piece, whole)
		}
		if whole.Between() {
			head := []byte{0x82, byte(size)}
			if size > 125 {
				head = binary.BigEndian.AppendUint16([]byte{0x82, 126}, size)
			}
			whole.Follow(head)
			whole.Follow(bytes.Repeat([]byte("x"), int(size)))
			if !whole.Between() {
				t.Errorf("got no room behind a frame of %d bytes", size)
			}
		}
	})
}
