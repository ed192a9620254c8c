package hostile

import (
	"slices"

	"golang.org/x/net/http2/hpack"
)

func field(name, value string) hpack.HeaderField { return hpack.HeaderField{Name: name, Value: value} }

// head is a stream of one block of fields.
func head(pseudo []hpack.HeaderField, fields ...hpack.HeaderField) []block {
	return []block{{fields: slices.Concat(pseudo, fields)}}
}

var open = pseudo("GET", "/public", "app")

// Tricks with the framing of HTTP/2.
var framesOnly = []struct {
	name    string
	frames  []block
	want    string
	reaches []string
}{
	{"two paths", head(open, field(":path", "/admin")), malformed, nil},
	{"no path", head([]hpack.HeaderField{field(":method", "GET"), field(":scheme", "http"), field(":authority", "app")}), malformed, nil},
	{"an empty path", head(pseudo("GET", "", "app")), malformed, nil},
	{"a path that is a URL: the path in it is judged", head(pseudo("GET", "http://elsewhere/admin", "app")), "401 token_required", nil},
	{"a path that is a URL goes to the app under the authority", head(pseudo("GET", "http://elsewhere/public", "app")), "200", []string{"GET /public app"}},
	{"a path without a slash", head(pseudo("GET", "public", "app")), malformed, nil},
	{"a path with a space and a version", head(pseudo("GET", "/public HTTP/1.1\r\nX-Auth-Subject: mallory", "app")), malformed, nil},
	{"two methods", head(open, field(":method", "DELETE")), malformed, nil},
	{"a method with a line end", head(pseudo("GET /admin HTTP/1.1\r\nHost: app\r\n\r\nGET", "/public", "app")), malformed, nil},
	{"two authorities", head(open, field(":authority", "other")), malformed, nil},
	{"an authority and another host (RFC 9113 section 8.3.1)", head(open, field("host", "other")), "400 ambiguous_host", nil},
	{"an authority and the same host", head(open, field("host", "app")), "200", []string{"GET /public app"}},
	{"neither authority nor host", head([]hpack.HeaderField{field(":method", "GET"), field(":scheme", "http"), field(":path", "/public")}), "400 host_missing", nil},
	{"a host alone", head([]hpack.HeaderField{field(":method", "GET"), field(":scheme", "http"), field(":path", "/public"), field("host", "app")}), "200", []string{"GET /public app"}},
	{"a pseudo-header behind the others", []block{{fields: append([]hpack.HeaderField{field("accept", "*/*")}, open...)}}, malformed, nil},
	{"a pseudo-header that nobody knows", head(open, field(":user", "root")), malformed, nil},
	{"a name in capital letters", head(open, field("X-Auth-Subject", "mallory")), malformed, nil},
	{"a name with a line end", head(open, field("x-other\r\nx-auth-subject", "mallory")), malformed, nil},
	{"a name with a colon", head(open, field("x-auth-subject: mallory\r\nx", "1")), malformed, nil},
	{"a value with a line end", head(open, field("x-other", "1\r\nx-auth-subject: mallory")), malformed, nil},
	{"a value with NUL", head(open, field("x-other", "1\x00")), malformed, nil},
	{"a header for one hop", head(open, field("connection", "x-auth-subject")), malformed, nil},
	{"a coding", head(open, field("transfer-encoding", "chunked")), malformed, nil},
	{"TE other than trailers", head(open, field("te", "gzip")), malformed, nil},
	{"a tunnel", head([]hpack.HeaderField{field(":method", "CONNECT"), field(":authority", "app:8080")}), "400 ambiguous_path", nil},
	{"a WebSocket tunnel, which was not offered", head(append(pseudo("CONNECT", "/public", "app"), field(":protocol", "websocket"))), malformed, nil},
	{
		"a length that the body does not have",
		[]block{{fields: append(pseudo("POST", "/closed", "app"), field("content-length", "35"))}, {data: "hi"}}, "403 denied", nil,
	},
	{
		"a pseudo-header behind the body", []block{{fields: pseudo("POST", "/public", "app")}, {data: "hi"}, {fields: []hpack.HeaderField{field(":path", "/admin")}}},
		malformed, nil,
	},
	{
		"cookies in pieces are one header", head(open, field("cookie", "a=1"), field("cookie", "__Secure-latchkey-refresh=secret"), field("cookie", "b=2")), "200",
		[]string{"GET /public app\ncookie: a=1; b=2"},
	},
}
