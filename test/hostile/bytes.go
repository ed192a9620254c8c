package hostile

import "strings"

// lines ends each line, and the head, as HTTP/1.1 does.
func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n\r\n" }

// smuggled is what a server that misreads the request before it would take for one.
const smuggled = "GET /admin HTTP/1.1\r\nHost: app\r\n\r\n"

// Tricks with the framing of HTTP/1.1. What is smuggled has to be answered for itself or not at all: 401 or nothing, and never reaches the
// app.
var bytesOnly = []struct {
	name    string
	bytes   string // TOKEN stands for the target's
	want    string
	reaches []string
}{
	{
		"a length and chunks: the chunks count",
		lines("POST /public HTTP/1.1", "Host: app", "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled,
		"200, 401 token_required", []string{"POST /public app\ntransfer-encoding: chunked"},
	},
	{"two lengths", lines("POST /public HTTP/1.1", "Host: app", "Content-Length: 0", "Content-Length: 35") + smuggled, malformed, nil},
	{"a list of lengths", lines("POST /public HTTP/1.1", "Host: app", "Content-Length: 0, 35") + smuggled, malformed, nil},
	{"a length with a sign", lines("POST /public HTTP/1.1", "Host: app", "Content-Length: +0") + smuggled, malformed, nil},
	{"a negative length", lines("POST /public HTTP/1.1", "Host: app", "Content-Length: -1") + smuggled, malformed, nil},
	{"a length in another base", lines("POST /public HTTP/1.1", "Host: app", "Content-Length: 0x0") + smuggled, malformed, nil},
	{"a length that is too large", lines("POST /public HTTP/1.1", "Host: app", "Content-Length: 99999999999999999999") + smuggled, malformed, nil},
	{"an empty length", lines("POST /public HTTP/1.1", "Host: app", "Content-Length:") + smuggled, malformed, nil},
	{"a length with a space before the colon", lines("POST /public HTTP/1.1", "Host: app", "Content-Length : 35") + smuggled, malformed, nil},
	{
		"a request behind a body", lines("POST /public HTTP/1.1", "Host: app", "Content-Length: 2") + "hi" + smuggled,
		"200, 401 token_required", []string{"POST /public app\ncontent-length: 2\nbody: hi"},
	},
	{
		"a request behind the body of a GET", lines("GET /public HTTP/1.1", "Host: app", "Content-Length: 2") + "hi" + smuggled,
		"200, 401 token_required", []string{"GET /public app\ncontent-length: 2\nbody: hi"},
	},
	{"an unknown coding behind chunks", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: chunked, identity") + "0\r\n\r\n" + smuggled, malformed, nil},
	{"an unknown coding before chunks", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: gzip, chunked") + "0\r\n\r\n" + smuggled, malformed, nil},
	{"identity", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: identity", "Content-Length: 5") + "0\r\n\r\n" + smuggled, malformed, nil},
	{"a name that begins alike", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: xchunked") + "0\r\n\r\n" + smuggled, malformed, nil},
	{"a quoted coding", lines("POST /public HTTP/1.1", "Host: app", `Transfer-Encoding: "chunked"`) + "0\r\n\r\n" + smuggled, malformed, nil},
	{"chunks with a control character", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: chunked\x0b") + "0\r\n\r\n" + smuggled, malformed, nil},
	{"chunks twice", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n" + smuggled, malformed, nil},
	{"chunks, and again in one list", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: chunked, chunked") + "0\r\n\r\n" + smuggled, malformed, nil},
	{"a space before the colon", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding : chunked") + "0\r\n\r\n" + smuggled, malformed, nil},
	{
		"an underscore is another name: there is no body", lines("POST /public HTTP/1.1", "Host: app", "Transfer_Encoding: chunked") + smuggled,
		"200, 401 token_required", []string{"POST /public app\ncontent-length: 0\ntransfer_encoding: chunked"},
	},
	{
		"capital letters are the same name", lines("POST /public HTTP/1.1", "Host: app", "TRANSFER-ENCODING: ChUnKeD") + "2\r\nhi\r\n0\r\n\r\n",
		"200", []string{"POST /public app\ntransfer-encoding: chunked\nbody: hi"},
	},
	{"a coding on a folded line", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding:", " chunked") + "0\r\n\r\n", "200", []string{"POST /public app\ntransfer-encoding: chunked"}},
	{
		"chunks in a protocol that has none: there is no body",
		lines("POST /public HTTP/1.0", "Host: app", "Connection: keep-alive", "Transfer-Encoding: chunked") + smuggled,
		"200, 401 token_required", []string{"POST /public app\ncontent-length: 0"},
	},
	{
		"a chunk with an extension, which stays here", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: chunked") + "2;x=\"1\"\r\nhi\r\n0;y\r\n\r\n" + smuggled,
		"200, 401 token_required", []string{"POST /public app\ntransfer-encoding: chunked\nbody: hi"},
	},
	{"a chunk whose extension ends a line by itself", lines("POST /orders HTTP/1.1", "Host: app", "Transfer-Encoding: chunked") + "2;\nhi\r\n0\r\n\r\n", "401 token_required", nil},
	{"a body that breaks off in its chunks", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: chunked") + "2\r\nhello\r\n0\r\n\r\n" + smuggled, "400 body_unreadable", nil},
	{"an empty host", lines("GET /public HTTP/1.1", "Host:"), "400 host_missing", nil},
	{"a chunk size with a sign", lines("POST /orders HTTP/1.1", "Host: app", "Transfer-Encoding: chunked") + "+2\r\nhi\r\n0\r\n\r\n" + smuggled, "401 token_required", nil},
	{"a chunk size in C", lines("POST /orders HTTP/1.1", "Host: app", "Transfer-Encoding: chunked") + "0x2\r\nhi\r\n0\r\n\r\n" + smuggled, "401 token_required", nil},
	{"a chunk size that is too large", lines("POST /orders HTTP/1.1", "Host: app", "Transfer-Encoding: chunked") + "10000000000000002\r\nhi\r\n0\r\n\r\n" + smuggled, "401 token_required", nil},
	{"a chunk that is longer than it says", lines("POST /orders HTTP/1.1", "Host: app", "Transfer-Encoding: chunked") + "2\r\nhello\r\n0\r\n\r\n" + smuggled, "401 token_required", nil},

	{"a line that ends without a carriage return", "GET /public HTTP/1.1\nHost: app\n\n" + smuggled, "200, 401 token_required", []string{"GET /public app"}},
	{"a carriage return alone in a value", lines("GET /public HTTP/1.1", "Host: app", "X-Other: a\rX-Auth-Subject: mallory"), malformed, nil},
	{"NUL in a value", lines("GET /public HTTP/1.1", "Host: app", "X-Other: a\x00b"), malformed, nil},
	{"NUL in a name", lines("GET /public HTTP/1.1", "Host: app", "X-Oth\x00er: a"), malformed, nil},
	{"a space in a name", lines("GET /public HTTP/1.1", "Host: app", "X-Auth Subject: mallory"), malformed, nil},
	{"a space before the colon of an identity header", lines("GET /public HTTP/1.1", "Host: app", "X-Auth-Subject : mallory"), malformed, nil},
	{"no name", lines("GET /public HTTP/1.1", "Host: app", ": mallory"), malformed, nil},
	{"no colon", lines("GET /public HTTP/1.1", "Host: app", "X-Auth-Subject"), malformed, nil},
	{"a first header that begins with a space", lines("GET /public HTTP/1.1", " Host: app"), malformed, nil},
	{
		"a folded line is one value", lines("GET /public HTTP/1.1", "Host: app", "X-Other: a", " X-Auth-Subject: mallory"),
		"200", []string{"GET /public app\nx-other: a X-Auth-Subject: mallory"},
	},
	{
		"a folded name of a header is none", lines("GET /public HTTP/1.1", "Host: app", "X-Auth-Subject:", " mallory"),
		"200", []string{"GET /public app"},
	},
	{"an expectation that nobody knows", lines("GET /public HTTP/1.1", "Host: app", "Expect: 200-ok"), malformed, nil},
	{
		"cookies arrive as they were sent", lines("GET /public HTTP/1.1", "Host: app", `Cookie: a=1;b="; c" `), "200", []string{"GET /public app\ncookie: a=1;b=\"; c\""},
	},
	{"headers without end", lines("GET /public HTTP/1.1", "Host: app", "X-Other: "+strings.Repeat("a", 80<<10)), malformed, nil},
	{"a path without end", lines("GET /public/"+strings.Repeat("a", 80<<10)+" HTTP/1.1", "Host: app"), malformed, nil},
	{
		"a long header that is within bounds", lines("GET /public HTTP/1.1", "Host: app", "X-Other: "+strings.Repeat("a", 30<<10)),
		"200", []string{"GET /public app\nx-other: " + strings.Repeat("a", 30<<10)},
	},

	{"two hosts", lines("GET /public HTTP/1.1", "Host: app", "Host: other"), malformed, nil},
	{"the same host twice", lines("GET /public HTTP/1.1", "Host: app", "Host: app"), malformed, nil},
	{"no host", lines("GET /public HTTP/1.1"), malformed, nil},
	{"a host with a space", lines("GET /public HTTP/1.1", "Host: app evil"), malformed, nil},
	{"a host with a path", lines("GET /public HTTP/1.1", "Host: app/admin"), malformed, nil},
	{"a host with NUL", lines("GET /public HTTP/1.1", "Host: app\x00"), malformed, nil},
	{"an absolute form: its path is judged", lines("GET http://elsewhere/admin HTTP/1.1", "Host: app"), "401 token_required", nil},
	{"an absolute form goes to the app under the name it has", lines("GET http://elsewhere/public HTTP/1.1", "Host: app"), "200", []string{"GET /public elsewhere"}},
	{"an absolute form with a user", lines("GET http://user:pass@elsewhere/public HTTP/1.1", "Host: app"), "200", []string{"GET /public elsewhere"}},
	{"an absolute form of another scheme", lines("GET gopher://elsewhere/public HTTP/1.1", "Host: app"), "200", []string{"GET /public elsewhere"}},
	{"an absolute form without a path", lines("GET http://elsewhere HTTP/1.1", "Host: app"), "400 ambiguous_path", nil},
	{"an absolute form that climbs", lines("GET http://elsewhere/public/../admin HTTP/1.1", "Host: app"), "400 ambiguous_path", nil},
	{"an opaque form", lines("GET app:admin HTTP/1.1", "Host: app"), "400 ambiguous_path", nil},
	{"a path that does not begin with a slash", lines("GET public HTTP/1.1", "Host: app"), malformed, nil},
	{"a tunnel", lines("CONNECT app:8080 HTTP/1.1", "Host: app:8080") + smuggled, "400 ambiguous_path, 401 token_required", nil},
	{"a tunnel that names a path", lines("CONNECT /public HTTP/1.1", "Host: app") + smuggled, "400 method_refused, 401 token_required", nil},

	{"a request line with two spaces", lines("GET  /public HTTP/1.1", "Host: app"), malformed, nil},
	{"a request line with a tab", lines("GET\t/public HTTP/1.1", "Host: app"), malformed, nil},
	{"a request line with a space in the path", lines("GET /public /admin HTTP/1.1", "Host: app"), malformed, nil},
	{"a request line without a version", lines("GET /public", "Host: app"), malformed, nil},
	{"a version in small letters", lines("GET /public http/1.1", "Host: app"), malformed, nil},
	{"a version that is none", lines("GET /public HTTP/1.9", "Host: app"), "200", []string{"GET /public app"}},
	{"HTTP/2 without its preface", lines("GET /public HTTP/2.0", "Host: app"), malformed, nil},
	{"HTTP/3", lines("GET /public HTTP/3.0", "Host: app"), malformed, nil},
	{"an empty line before the request", "\r\n" + lines("GET /public HTTP/1.1", "Host: app"), malformed, nil},
	{"HTTP/1.0 without a host", lines("GET /public HTTP/1.0", "Connection: keep-alive"), "400 host_missing", nil},

	{
		"Connection cannot take identity headers out", lines("GET /orders HTTP/1.1", "Host: app", "Authorization: Bearer TOKEN", "Connection: X-Auth-Subject, x-auth-roles, Host"),
		"200", []string{"GET /orders app\nx-auth-roles: editor\nx-auth-subject: alice"},
	},
	{
		"Connection cannot take the token from the judge", lines("GET /orders HTTP/1.1", "Host: app", "Authorization: Bearer TOKEN", "Connection: Authorization"),
		"200", []string{"GET /orders app\nx-auth-roles: editor\nx-auth-subject: alice"},
	},
	{
		"Connection cannot take the peer's address out", lines("GET /public HTTP/1.1", "Host: app", "X-Forwarded-For: 192.0.2.1", "Connection: X-Forwarded-For"),
		"200", []string{"GET /public app\nx-forwarded-for: 192.0.2.1, 127.0.0.1"},
	},
	{
		"Connection cannot take the length out", lines("POST /public HTTP/1.1", "Host: app", "Content-Length: 2", "Connection: Content-Length") + "hi" + smuggled,
		"200, 401 token_required", []string{"POST /public app\ncontent-length: 2\nbody: hi"},
	},
	{
		"Connection cannot take the chunks out", lines("POST /public HTTP/1.1", "Host: app", "Transfer-Encoding: chunked", "Connection: Transfer-Encoding") + "2\r\nhi\r\n0\r\n\r\n" + smuggled,
		"200, 401 token_required", []string{"POST /public app\ntransfer-encoding: chunked\nbody: hi"},
	},
	{
		"headers for one hop stay here",
		lines("GET /public HTTP/1.1", "Host: app", "Connection: keep-alive, X-Own", "X-Own: 1", "Keep-Alive: timeout=5", "Proxy-Authorization: Basic YTpi", "Proxy-Connection: keep-alive", "TE: gzip"),
		"200", []string{"GET /public app"},
	},
	{
		"an upgrade to HTTP/2, in which a caller would talk past the judge",
		lines("GET /public HTTP/1.1", "Host: app", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA") + smuggled,
		"200, 401 token_required", []string{"GET /public app"},
	},
	{
		"an upgrade to anything", lines("GET /public HTTP/1.1", "Host: app", "Connection: Upgrade", "Upgrade: foo, websocket") + smuggled,
		"200, 401 token_required", []string{"GET /public app"},
	},
	{
		"a handshake that the app does not take up", lines("GET /public HTTP/1.1", "Host: app", "Connection: Upgrade", "Upgrade: websocket") + smuggled,
		"200, 401 token_required", []string{"GET /public app\nconnection: Upgrade\nupgrade: websocket"},
	},
}
