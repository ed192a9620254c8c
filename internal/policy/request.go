package policy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Request is what a decision may depend on, beside the claims.
type Request struct {
	Method string
	// Host as NormalizeHost returns it.
	Host string
	// Path as Normalize returns it.
	Path string
	// Query is what stands behind the "?", as it was sent. Only expressions read it.
	Query string
	// Header is read by expressions alone, and not all of it: see hidden.
	Header http.Header
	// Credentials takes out of a header and a query, which it returns, what expressions must not see either; nil takes nothing.
	Credentials interface {
		Remove(header http.Header, query string) string
	}
}

// hidden are headers that expressions do not see, by folded names: credentials, so that no decision hangs on a token that nobody verified; those by which
// proxies, or callers who pose as one, say where a request came from; and the host, which is request.host.
var hidden = folded(
	"Authorization", "Cookie", "Host", "Proxy-Authorization",
	"CF-Connecting-IP", "Client-IP", "Fastly-Client-IP", "Forwarded", "True-Client-IP", "Via", "X-Client-Cert", "X-Client-IP", "X-Cluster-Client-IP",
	"X-Envoy-External-Address", "X-Original-Forwarded-For", "X-Original-Host", "X-ProxyUser-IP", "X-Real-IP", "X-Remote-Addr", "X-Remote-IP",
)

// hiddenPrefix is that of the other forwarding headers, folded.
const hiddenPrefix = "x-forwarded-"

func folded(names ...string) map[string]struct{} {
	set := make(map[string]struct{}, len(names))
	for _, name := range names {
		set[string(fold(nil, name))] = struct{}{}
	}
	return set
}

// visible returns headers and query as expressions see them: without credentials, hidden headers and those that are stripped, and the names of
// headers in small letters. Where the query has parts that parsers read in different ways, there is an error.
func (p *Program) visible(r *Request) (headers, query map[string][]string, err error) {
	header, rawQuery := r.Header, r.Query
	if r.Credentials != nil {
		header = header.Clone()
		rawQuery = r.Credentials.Remove(header, rawQuery)
	}
	headers = make(map[string][]string, len(header))
	for name, values := range header {
		key := string(fold(nil, name))
		_, hide := hidden[key]
		if hide || strings.HasPrefix(key, hiddenPrefix) || p.Strips(name) {
			continue
		}
		name = strings.ToLower(name)
		headers[name] = slices.Concat(headers[name], values)
	}
	query, err = url.ParseQuery(rawQuery)
	return headers, query, err
}
