package jwksource

import (
	"strconv"
	"strings"
	"time"
)

// Bounds for how long an answer counts as fresh, whatever its server says.
const (
	MinLifetime     = time.Minute
	DefaultLifetime = 10 * time.Minute // where the server says nothing
	MaxLifetime     = time.Hour        // so that a withdrawn key is noticed
)

// Lifetime returns how long an answer with these Cache-Control fields and this Age field is fresh (RFC 9111 sections 4.2 and 5.2.2), within
// MinLifetime and MaxLifetime. Expires and s-maxage do not count; what is not understood makes the time shorter, never longer.
func Lifetime(cacheControl []string, age string) time.Duration {
	const unsaid = int64(-1)
	seconds := unsaid
	atMost := func(limit int64) {
		if seconds == unsaid || limit < seconds {
			seconds = limit
		}
	}
	for _, directive := range directives(strings.Join(cacheControl, ",")) {
		name, value, _ := strings.Cut(directive, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "no-store", "no-cache":
			atMost(0)
		case "max-age":
			atMost(deltaSeconds(strings.Trim(strings.TrimSpace(value), `"`)))
		}
	}
	if seconds == unsaid {
		return DefaultLifetime
	}
	if age = strings.TrimSpace(age); age != "" {
		seconds -= deltaSeconds(age)
	}
	return min(max(time.Duration(seconds)*time.Second, MinLifetime), MaxLifetime)
}

// directives splits at the commas that are not within a quoted string.
func directives(text string) []string {
	var found []string
	quoted, start := false, 0
	for i := 0; i < len(text); i++ {
		switch {
		case quoted && text[i] == '\\':
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			found, start = append(found, text[start:i]), i+1
		}
	}
	return append(found, text[start:])
}

// deltaSeconds reads a number of seconds; one too great to matter is cut, and what is none is 0 (RFC 9111 sections 1.2.2 and 4.2.1).
func deltaSeconds(text string) int64 {
	const most = 1 << 31
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds > most {
		return most
	}
	return seconds
}
