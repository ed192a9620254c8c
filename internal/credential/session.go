package credential

import (
	"net/http"
	"strings"
)

// The cookies of an app whose pages are rendered on a server. Browsers take names with __Host- only from the host itself (RFC 6265bis, section
// 4.1.3.2), so that no neighbouring domain can plant one. The sidecar alone looks at them, and under these names alone: apps never see them.
const (
	AccessCookie  = "__Host-latchkey-access"
	RefreshCookie = "__Host-latchkey-refresh"
)

// own begins the names of Latchkey's own cookies, in small letters.
var own = [...]string{"__secure-latchkey-", "__host-latchkey-"}

// IsOwn says whether a cookie is one of Latchkey's own, in whatever case: browsers compare the prefix without.
func IsOwn(name string) bool {
	for _, prefix := range own {
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// WithSession returns the sources with AccessCookie beside them. It counts where there is no other token: pages with scripts may send one by
// themselves, and browsers add the cookie all the same.
func (s *Sources) WithSession() *Sources {
	with := *s
	with.session = true
	return &with
}

// HasSession says whether AccessCookie is among the sources.
func (s *Sources) HasSession() bool { return s.session }

// findSession looks for AccessCookie, where nothing else was found.
func (s *Sources) findSession(header http.Header, found *Found) error {
	access, times := Cookie(header, AccessCookie)
	if _, more := Cookie(header, RefreshCookie); times > 1 || more > 1 {
		return ErrSeveral
	}
	if !found.Present && access != "" {
		*found = Found{Token: access, Present: true, Ambient: true, Session: true}
	}
	return nil
}

// Cookie returns the value of the cookie of exactly this name, and how often it is there.
func Cookie(header http.Header, name string) (value string, times int) {
	for _, line := range header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if found, is := strings.CutPrefix(strings.Trim(pair, " \t"), name+"="); is {
				value = found
				times++
			}
		}
	}
	return value, times
}

// WithAccess returns a request's headers as if the browser had sent this access token.
func WithAccess(header http.Header, token string) http.Header {
	with := header.Clone()
	removeCookies(with, foldName(AccessCookie))
	with["Cookie"] = append(with["Cookie"], AccessCookie+"="+token)
	return with
}
