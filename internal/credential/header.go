package credential

import (
	"net/http"
	"strings"
)

// bearer returns what follows the Bearer scheme, as it was sent, and whether an app could take it for a bearer token at all. Some split at
// any white space, a tab or what Latin-1 counts as one, so whatever is not of the scheme's name ends it here.
func bearer(value string) (token string, ok bool) {
	const scheme = "Bearer"
	if len(value) < len(scheme) || value[:len(scheme)] != scheme && !strings.EqualFold(value[:len(scheme)], scheme) || inScheme(value[len(scheme):]) {
		return "", false
	}
	return strings.TrimLeft(value[len(scheme):], " "), true
}

// inScheme reports whether the name of a scheme would go on here: with a letter, a digit, or one of the other characters of a token (RFC
// 9110 section 5.6.2) that schemes in use have.
func inScheme(rest string) bool {
	if rest == "" {
		return false
	}
	c := rest[0] | 0x20
	return 'a' <= c && c <= 'z' || '0' <= rest[0] && rest[0] <= '9' || rest[0] == '-' || rest[0] == '_'
}

// inHeaders returns the value of a header in any spelling, and how often it is there.
func inHeaders(header http.Header, folded string) (value string, times int) {
	for name, values := range header {
		if isSpelling(name, folded) {
			times += len(values)
			for _, each := range values {
				value = each
			}
		}
	}
	return value, times
}

// isSpelling reports whether a header's name is folded, as CGI and its heirs compare names: without case, and with every character that
// is neither letter nor digit as good as any other.
func isSpelling(name, folded string) bool {
	if len(name) != len(folded) {
		return false
	}
	for i := range len(name) {
		if foldByte(name[i]) != folded[i] {
			return false
		}
	}
	return true
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}

func foldName(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		folded[i] = foldByte(c)
	}
	return string(folded)
}
