package http1

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// maxFields is how many header fields a message may have here.
const maxFields = 64

// message is what a connection reads requests into, one after the other. Nothing of it is allocated for a request but the text of its head.
type message struct {
	request *http.Request
	header  http.Header // of request
	url     url.URL
	fields  fields
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
	if !ok || protocol != "HTTP/1.1" || !m.readTarget(target) || !m.fields.read(rest, r.Header) {
		return false
	}
	host := r.Header["Host"]
	if len(host) != 1 || !isHost(host[0]) {
		return false
	}
	delete(r.Header, "Host")
	r.Close = false
	switch connection := r.Header["Connection"]; {
	case connection == nil, len(connection) == 1 && strings.EqualFold(connection[0], "keep-alive"):
	case len(connection) == 1 && strings.EqualFold(connection[0], "close"):
		r.Close = true
	default:
		return false
	}
	if r.ContentLength, ok = contentLength(r.Header["Content-Length"]); !ok {
		return false
	}
	r.Method, r.Host, r.RequestURI = method, host[0], target
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

// fields holds the values of header fields while they are in a map.
type fields struct {
	values [maxFields]string
	n      int
}

// elsewhere are the fields of messages that net/http had better see to: they are about the connection, about how the body is sent, or change
// what other fields mean.
var elsewhere = map[string]bool{
	"Expect": true, "Http2-Settings": true, "Keep-Alive": true, "Pragma": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// read reads header fields, up to and with the empty line, into header, which it clears.
func (f *fields) read(text string, header http.Header) bool {
	clear(header)
	f.n = 0
	for {
		line, rest, ok := cutLine(text)
		if !ok {
			return false
		}
		if line == "" {
			return rest == ""
		}
		text = rest
		colon := strings.IndexByte(line, ':')
		if colon < 1 || f.n == maxFields || !consists(line[:colon], inToken) {
			return false
		}
		value := strings.Trim(line[colon+1:], " \t")
		if !consists(value, inValue) {
			return false
		}
		name := textproto.CanonicalMIMEHeaderKey(line[:colon])
		if elsewhere[name] {
			return false
		}
		if before, ok := header[name]; ok {
			header[name] = append(before, value)
			continue
		}
		f.values[f.n] = value
		header[name] = f.values[f.n : f.n+1 : f.n+1]
		f.n++
	}
}

// contentLength returns the length that a message says its body has; 0 where it says nothing.
func contentLength(values []string) (int64, bool) {
	if len(values) == 0 {
		return 0, true
	}
	if len(values) > 1 || values[0] == "" || len(values[0]) > 15 {
		return 0, false
	}
	var length int64
	for _, c := range []byte(values[0]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		length = length*10 + int64(c-'0')
	}
	return length, true
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
)

var kinds = func() (kinds [256]byte) {
	alphanumeric := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for kind, members := range map[byte]string{
		inToken: alphanumeric + "!#$%&'*+-.^_`|~",
		inPath:  alphanumeric + "-._~/",
		inHost:  alphanumeric + "-._:[]",
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
