package hostile

import (
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// trick is a request that both protocols can express.
type trick struct {
	name   string
	method string // GET by default
	target string // /public by default, which is open to all
	host   string // app by default
	fields []string
	token  bool // sends the target's token
	body   string
	// trailers come after the body.
	trailers []string

	want    string   // the answer: a status and a reason
	reaches []string // what reaches the app, but for what frames the body
}

func (k trick) filled(token string) trick {
	or := func(value, instead string) string {
		if value == "" {
			return instead
		}
		return value
	}
	k.method, k.target, k.host = or(k.method, "GET"), or(k.target, "/public"), or(k.host, "app")
	if k.token {
		k.fields = append(slices.Clone(k.fields), "Authorization: Bearer "+token)
	}
	return k
}

// bytes is the trick in HTTP/1.1.
func (k trick) bytes(token string) string {
	k = k.filled(token)
	lines := append([]string{k.method + " " + k.target + " HTTP/1.1", "Host: " + k.host}, k.fields...)
	end := ""
	switch {
	case len(k.trailers) > 0:
		lines = append(lines, "Transfer-Encoding: chunked")
		end = "2\r\n" + k.body + "\r\n0\r\n" + strings.Join(k.trailers, "\r\n") + "\r\n\r\n"
	case k.body != "":
		lines = append(lines, "Content-Length: 2")
		end = k.body
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + end
}

// frames is the trick in HTTP/2.
func (k trick) frames(token string) []block {
	k = k.filled(token)
	fields := pseudo(k.method, k.target, k.host)
	blocks := []block{{fields: append(fields, pairs(k.fields)...)}}
	if k.body != "" {
		blocks = append(blocks, block{data: k.body})
	}
	if len(k.trailers) > 0 {
		blocks = append(blocks, block{fields: pairs(k.trailers)})
	}
	return blocks
}

func pseudo(method, path, authority string) []hpack.HeaderField {
	return []hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: path}, {Name: ":authority", Value: authority},
	}
}

// pairs takes "Name: value". HTTP/2 has names in small letters alone.
func pairs(fields []string) []hpack.HeaderField {
	var found []hpack.HeaderField
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		found = append(found, hpack.HeaderField{Name: strings.ToLower(name), Value: value})
	}
	return found
}

// Every trick of docs/threat-model.md that both protocols can express.
var requests = []trick{
	// Paths that climb out of an open one, in every spelling.
	{name: "dots", target: "/public/../admin", want: "400 ambiguous_path"},
	{name: "dots at the end", target: "/public/..", want: "400 ambiguous_path"},
	{name: "a dot", target: "/public/./admin", want: "400 ambiguous_path"},
	{name: "encoded dots", target: "/public/%2e%2e/admin", want: "400 ambiguous_path"},
	{name: "one encoded dot", target: "/public/.%2E/admin", want: "400 ambiguous_path"},
	{name: "three dots are a name", target: "/public/...", want: "200", reaches: []string{"GET /public/... app"}},
	{name: "dots in a name", target: "/public/a..b", want: "200", reaches: []string{"GET /public/a..b app"}},
	{name: "two slashes", target: "/public//admin", want: "400 ambiguous_path"},
	{name: "two slashes at the start, which some take for a host", target: "//public/admin", want: "400 ambiguous_path"},
	{name: "an encoded slash", target: "/public/..%2fadmin", want: "400 ambiguous_path"},
	{name: "an encoded slash in capital letters", target: "/public%2Fadmin", want: "400 ambiguous_path"},
	{name: "a backslash", target: `/public\..\admin`, want: "400 ambiguous_path"},
	{name: "an encoded backslash", target: "/public/..%5cadmin", want: "400 ambiguous_path"},
	{name: "a parameter, which some servers drop", target: "/public/..;/admin", want: "400 ambiguous_path"},
	{name: "a parameter behind a name", target: "/admin;a=b", want: "400 ambiguous_path"},
	{name: "an encoded parameter", target: "/public/..%3b/admin", want: "400 ambiguous_path"},
	{name: "NUL", target: "/public%00/admin", want: "400 ambiguous_path"},
	{name: "an encoded line end", target: "/public%0d%0aX-Auth-Subject:%20mallory", want: "400 ambiguous_path"},
	{name: "an encoded tab", target: "/public%09", want: "400 ambiguous_path"},
	{name: "double encoding", target: "/public/%252e%252e/admin", want: "400 ambiguous_path"},
	{name: "double encoding of a part", target: "/public/%2%65%2%65/admin", want: malformed},
	{name: "overlong UTF-8 for dots", target: "/public/%c0%ae%c0%ae/admin", want: "400 ambiguous_path"},
	{name: "overlong UTF-8 for a slash", target: "/public/..%e0%80%afadmin", want: "400 ambiguous_path"},
	{name: "half of a surrogate pair", target: "/public/%ed%a0%80", want: "400 ambiguous_path"},
	{name: "what is not UTF-8", target: "/public/%ff", want: "400 ambiguous_path"},
	{name: "a percent sign alone", target: "/public/%", want: malformed},
	{name: "a percent sign before what is no number", target: "/public/%u002e%u002e/admin", want: malformed},
	{name: "an asterisk", method: "OPTIONS", target: "*", want: "400 ambiguous_path"},
	{name: "a fragment is part of the path", target: "/admin#/public", want: "401 token_required"},
	{name: "a fragment that climbs", target: "/public#/../admin", want: "400 ambiguous_path"},
	{name: "a question mark begins the query, whatever is in it", target: "/public?/../admin;%2e%2e%00", want: "200", reaches: []string{"GET /public?/../admin;%2e%2e%00 app"}},
	{name: "an encoded question mark does not", target: "/public%3f/../admin", want: "400 ambiguous_path"},
	{name: "an encoded name is the name", target: "/%61dmin", want: "401 token_required"},
	{name: "and arrives as it was sent", target: "/publi%63/%7e%41b?%41", want: "200", reaches: []string{"GET /publi%63/%7e%41b?%41 app"}},
	{
		name: "characters that some leave raw arrive encoded, in the path", target: "/public/{a}é?b={c}", want: "200",
		reaches: []string{"GET /public/%7Ba%7D%C3%A9?b={c} app"},
	},
	{name: "capital letters open nothing", target: "/PUBLIC", want: "401 token_required"},
	{name: "capital letters do not get past a rule", target: "/ADMIN", token: true, want: "403 claims_not_met"},
	{name: "nor does a slash at the end", target: "/admin/", token: true, want: "403 claims_not_met"},
	{name: "nor do both, encoded", target: "/%41dmin/", token: true, want: "403 claims_not_met"},
	{name: "a longer name is another", target: "/publicity", want: "401 token_required"},

	// What names another host, path or method than the request's own.
	{name: "a host in capital letters arrives as it was sent", host: "APP", want: "200", reaches: []string{"GET /public APP"}},
	{name: "a host with a user", host: "user@app", want: malformed},
	{name: "a host that is two", host: "app,evil", want: "400 ambiguous_host"},
	{name: "an encoded host", host: "app%2eevil", want: "400 ambiguous_host"},
	{name: "a host with a port that is none", host: "app:80:90", want: "400 ambiguous_host"},
	{name: "a host with a port", host: "app:8080", want: "200", reaches: []string{"GET /public app:8080"}},
	{
		name: "what proxies say decides nothing, and arrives", target: "/orders", want: "401 token_required",
		fields: []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: internal", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /public", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"},
	},
	{
		name: "the peer is added to what proxies say", want: "200",
		fields: []string{"X-Forwarded-For: 192.0.2.1, 192.0.2.2", "X-Forwarded-Host: shop", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /p", "X-Real-IP: 192.0.2.1", "Forwarded: for=192.0.2.1"},
		reaches: []string{"GET /public app\nforwarded: for=192.0.2.1\nx-forwarded-for: 192.0.2.1, 192.0.2.2, 127.0.0.1\nx-forwarded-host: shop\nx-forwarded-prefix: /p\n" +
			"x-forwarded-proto: https\nx-real-ip: 192.0.2.1"},
	},
	{
		name: "several lines of what proxies say are one list", fields: []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"}, want: "200",
		reaches: []string{"GET /public app\nx-forwarded-for: 192.0.2.1, 192.0.2.2, 127.0.0.1"},
	},
	{
		name: "headers that override the method", want: "200", reaches: []string{"GET /public app"},
		fields: []string{"X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "X_HTTP_Method_Override: DELETE", "X-Original-Method: DELETE", "X-Forwarded-Method: DELETE"},
	},
	{
		name: "headers that override the path", want: "200", reaches: []string{"GET /public app"},
		fields: []string{
			"X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X_Original_Url: /admin", "X-Original-URI: /admin", "X-Forwarded-Uri: /admin", "X-Forwarded-Path: /admin", "Script-Name: /public",
			"SCRIPT_NAME: /public", "X-Script-Name: /public", "Path_Info: /admin",
		},
	},
	{name: "a method in small letters", method: "get", want: "400 method_refused"},
	{name: "a method that no rule names is still judged", method: "FOO", target: "/orders", want: "401 token_required"},

	// What looks like a probe of the kubelet.
	{name: "a probe's User-Agent", target: "/orders", fields: []string{"User-Agent: kube-probe/1.35"}, want: "401 token_required"},
	{name: "a probe's path", target: "/healthz", want: "401 token_required"},
	{name: "a scraper's path and header", target: "/metrics", fields: []string{"X-Prometheus-Scrape-Timeout-Seconds: 10", "X-Health-Check: 1"}, want: "401 token_required"},

	// Who the caller is.
	{
		name: "identity headers of a caller without a token", want: "200", reaches: []string{"GET /public app\nx-authority: 1"},
		fields: []string{"X-Auth-Subject: mallory", "X_Auth_Subject: mallory", "x-auth_subject: mallory", "X.Auth.Subject: mallory", "X-AUTH-ROLES: admin", "X-Auth-Subject: root", "X-Authority: 1"},
	},
	{
		name: "identity headers of a caller with one", target: "/orders", token: true, want: "200",
		fields:  []string{"X-Auth-Subject: mallory", "X_Auth_Roles: admin", "X-Auth-Roles: admin"},
		reaches: []string{"GET /orders app\nx-auth-roles: editor\nx-auth-subject: alice"},
	},
	{
		name: "identity headers behind the body", method: "POST", body: "hi", trailers: []string{"X-Auth-Subject: mallory", "Other: 1"}, fields: []string{"Trailer: X-Auth-Subject, Other"},
		want: "200", reaches: []string{"POST /public app\nbody: hi"},
	},
	{
		name: "two Authorization headers", target: "/orders", token: true, fields: []string{"Authorization: Basic YTpi"}, want: "400 several_credentials",
	},
	{name: "two Authorization headers on an open path", fields: []string{"Authorization: Bearer a", "Authorization: Bearer a"}, want: "400 several_credentials"},
	{name: "a bearer token behind a tab", target: "/orders", fields: []string{"Authorization: Bearer\tabc"}, want: "401 invalid_token"},
	{name: "a bad token on an open path stays here", fields: []string{"Authorization: bearer abc"}, want: "200", reaches: []string{"GET /public app"}},
	{
		name: "cookies of token services stay here", fields: []string{"Cookie: a=1; b=2; __Secure-latchkey-refresh=secret; __SECURE-LATCHKEY-x=secret; c=3"}, want: "200",
		reaches: []string{"GET /public app\ncookie: a=1; b=2; c=3"},
	},

	// What turns the connection into another.
	{name: "a body on a request that seldom has one", body: "hi", want: "200", reaches: []string{"GET /public app\nbody: hi"}},
}
