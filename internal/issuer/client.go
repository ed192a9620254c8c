package issuer

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
)

// maxUserAgent bounds what is kept of how a client calls itself, in bytes.
const maxUserAgent = 256

// deviceOf is what a request shows of the client. Through a sidecar, which proves to be one, that is what the sidecar saw; whoever else calls
// is the client.
func (h *handler) deviceOf(r *http.Request, m *material) store.Device {
	address, _, _ := net.SplitHostPort(r.RemoteAddr) // net/http writes it
	if m.sidecars.ShownBy(r.Header) {
		address = r.Header.Get("X-Forwarded-For")
	}
	return newDevice(address, r.UserAgent())
}

// newDevice bounds and cleans what comes from outside: it is stored, logged and shown.
func newDevice(address, userAgent string) store.Device {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		address = ""
	} else {
		address = parsed.Unmap().WithZone("").String()
	}
	return store.Device{Address: address, UserAgent: printable(userAgent, maxUserAgent)}
}

// printable cuts a text to so many bytes, without control characters or half a character.
func printable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, text)
	for len(text) > limit {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
