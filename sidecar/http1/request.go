package http1

import (
	"net/http"
	"net/url"
	"strings"
)

// message is what a connection reads requests into, one after the other. Nothing of it is allocated for a request but the text of its head.
type message struct {
	request *http.Request
	header  http.Header // of request
	url     url.URL
	fields  Fields // what header holds
}

// read reads the head of a request, up to and with its empty line, and reports whether it is one that net/http would have read, and in just
// this way. What it leaves behind otherwise is not to be used.
//
// The texts of the request are parts of head.
func (m *message) read(head string) bool {
	r := m.request
	line, rest, ok := cutLine(head)
	if !ok {
		return false
	}
	method, line, _ := strings.Cut(line, " ")
	target, protocol, _ := strings.Cut(line, " ")
	method, ok = known(method)
	if !ok || protocol != "HTTP/1.1" || !m.readTarget(target) || !m.fields.read(rest) {
		return false
	}
	host, hosts := m.fields.find("Host")
	if hosts != 1 || !isHost(host) {
		return false
	}
	m.fields.remove("Host")
	if r.Close, ok = closes(&m.fields); !ok {
		return false
	}
	if _, r.ContentLength, ok = announced(&m.fields); !ok {
		return false
	}
	clear(r.Header)
	m.fields.addTo(r.Header)
	r.Method, r.Host, r.RequestURI = method, host, target
	r.URL = &m.url
	return true
}

// cutLine cuts off the first line. It reports false unless that ends with CRLF.
func cutLine(text string) (line, rest string, ok bool) {
	end := strings.IndexByte(text, '\n')
	if end < 1 || text[end-1] != '\r' {
		return "", "", false
	}
	return text[:end-1], text[end+1:], true
}

// known returns a method that is read here, as a text that outlives the head.
func known(text string) (method string, ok bool) {
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	} {
		if text == method {
			return method, true
		}
	}
	return "", false
}

// readTarget reads a target in origin form (RFC 9112 section 3.2.1).
func (m *message) readTarget(target string) bool {
	if target == "" || target[0] != '/' {
		return false
	}
	path, query, asked := strings.Cut(target, "?")
	if !consists(path, inPath) || !consists(query, inQuery) {
		parsed, err := url.ParseRequestURI(target)
		if err != nil {
			return false
		}
		m.url = *parsed
		return true
	}
	m.url = url.URL{Path: path, RawQuery: query, ForceQuery: asked && query == ""}
	return true
}

// isHost reports whether text is a host, with or without a port, that everybody reads alike.
func isHost(text string) bool { return text != "" && consists(text, inHost) }

// What a byte may be a part of.
const (
	inToken = 1 << iota // RFC 9110 section 5.6.2
	inPath              // of a path that stays as it is, decoded and encoded again
	inQuery
	inHost
	inValue // of a header field
	isUpper // a capital letter
	isLower // a small one
)

var kinds = func() (kinds [256]byte) {
	const upper, lower = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
	alphanumeric := upper + lower + "0123456789"
	for kind, members := range map[byte]string{
		inToken: alphanumeric + "!#$%&'*+-.^_`|~",
		inPath:  alphanumeric + "-._~/",
		inHost:  alphanumeric + "-._:[]",
		isUpper: upper,
		isLower: lower,
	} {
		for _, c := range []byte(members) {
			kinds[c] |= kind
		}
	}
	for c := byte(0x21); c < 0x7f; c++ {
		kinds[c] |= inValue
		if c != '#' {
			kinds[c] |= inQuery
		}
	}
	kinds[' '] |= inValue
	kinds['\t'] |= inValue
	return kinds
}()

func consists(text string, kind byte) bool {
	for i := range len(text) {
		if kinds[text[i]]&kind == 0 {
			return false
		}
	}
	return true
}
