package credential

import (
	"iter"
	"net/http"
	"strings"
)

// means reports whether some app takes the name of a cookie or of a query parameter for one that is given folded. Names are percent-decoded,
// with "+" as a space; PHP cuts them at NUL and at "[", drops spaces before them and makes "_" of most punctuation; Rails, qs and
// their kin read name[] and [name]; others ignore case.
func means(raw, folded string) bool {
	matched, blanks, begun := 0, 0, false
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' && i+2 < len(raw) {
			high, highOK := unhex(raw[i+1])
			low, lowOK := unhex(raw[i+2])
			if highOK && lowOK {
				c = high<<4 | low
				i += 2
			}
		}
		blank := c <= ' ' && c != 0 || c == '+'
		switch {
		case !begun && (blank || c == '['):
			continue
		case blank: // at the end it is no part of the name, and within it is as good as punctuation
			blanks++
			continue
		case c == 0 || c == '[' || c == ']':
			return matched == len(folded)
		}
		begun = true
		for ; blanks > 0; blanks-- {
			if matched >= len(folded) || folded[matched] != '-' {
				return false
			}
			matched++
		}
		if matched >= len(folded) || foldByte(c) != folded[matched] {
			return false
		}
		matched++
	}
	return matched == len(folded)
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// inCookies returns the value of a cookie in any spelling, and how often it is there.
func inCookies(values []string, folded string) (token string, times int) {
	for _, value := range values {
		for pair := range strings.SplitSeq(value, ";") {
			if found, ok := inPair(pair, folded); ok {
				token = found
				times++
			}
		}
	}
	return token, times
}

// inPair looks into what stands between two semicolons of a Cookie header. Some parsers end a cookie at white space or a comma as well.
func inPair(pair, folded string) (token string, ok bool) {
	pair = strings.Trim(pair, " \t")
	if name, value, _ := strings.Cut(pair, "="); means(name, folded) {
		return strings.TrimLeft(value, " \t"), true
	}
	for {
		end := strings.IndexAny(pair, " \t,")
		if end < 0 {
			return "", false
		}
		pair = pair[end+1:]
		if name, value, _ := strings.Cut(pair, "="); means(name, folded) {
			return value, true
		}
	}
}

// removeCookies takes a cookie in any spelling out of the Cookie headers. What stays is written as it was.
func removeCookies(header http.Header, folded string) {
	values := header["Cookie"]
	if _, times := inCookies(values, folded); times == 0 {
		return
	}
	kept := make([]string, 0, len(values))
	for _, value := range values {
		var pairs []string
		for pair := range strings.SplitSeq(value, ";") {
			if _, ok := inPair(pair, folded); !ok {
				pairs = append(pairs, pair)
			}
		}
		if rest := strings.TrimLeft(strings.Join(pairs, ";"), " \t"); rest != "" {
			kept = append(kept, rest)
		}
	}
	if len(kept) == 0 {
		delete(header, "Cookie")
		return
	}
	header["Cookie"] = kept
}

// inQuery returns the value of a parameter in any spelling, and how often it is there.
func inQuery(query, folded string) (token string, times int) {
	for _, pair := range parameters(query) {
		if name, value, _ := strings.Cut(pair, "="); means(name, folded) {
			token = value
			times++
		}
	}
	return token, times
}

// removeParameter takes a parameter out of a query, with the separator before it, or behind it where it is the first.
func removeParameter(query, folded string) string {
	if _, times := inQuery(query, folded); times == 0 {
		return query
	}
	kept := make([]byte, 0, len(query))
	first := true
	for start, pair := range parameters(query) {
		if name, _, _ := strings.Cut(pair, "="); means(name, folded) {
			continue
		}
		if !first {
			kept = append(kept, query[start-1])
		}
		kept = append(kept, pair...)
		first = false
	}
	return string(kept)
}

// parameters yields what stands between the separators of a query, by where it starts. Some apps end a parameter at ";", too.
func parameters(query string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for start := 0; ; {
			length := strings.IndexAny(query[start:], "&;")
			if length < 0 {
				yield(start, query[start:])
				return
			}
			if !yield(start, query[start:start+length]) {
				return
			}
			start += length + 1
		}
	}
}
