package policy

import (
	"errors"
	"net/http"
	"net/url"
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
// proxies, or callers who pose as one, say where a request came from; those that are meant for one hop, and so never reach the app as they came;
// and the host, which is request.host.
var hidden = folded(
	"Authorization", "Cookie", "Host", "Proxy-Authorization",
	"Connection", "HTTP2-Settings", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
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

// errSpellings and errQuery keep what an expression would read from being read in two ways.
var (
	errSpellings = errors.New("a header is there in two spellings that some apps take for one")
	errQuery     = errors.New("the query cannot be read")
)

// visibleHeaders returns the headers as expressions see them: as far as the app will see them too, without credentials and hidden ones, and by folded
// names. Whoever sends X-Tenant and names it in Connection takes it from the app, and so from the expression. Two headers whose names fold to one are
// an error, since nobody knows which of them an app reads.
func (p *Program) visibleHeaders(r *Request) (map[string][]string, error) {
	header, _ := r.withoutCredentials()
	oneHop := map[string]struct{}{}
	for _, values := range header["Connection"] {
		for name := range strings.SplitSeq(values, ",") {
			oneHop[string(fold(nil, strings.TrimSpace(name)))] = struct{}{}
		}
	}
	visible := make(map[string][]string, len(header))
	for name, values := range header {
		key := string(fold(nil, name))
		_, hide := hidden[key]
		_, drop := oneHop[key]
		if hide || drop || strings.HasPrefix(key, hiddenPrefix) || p.Strips(name) {
			continue
		}
		if _, twice := visible[key]; twice {
			return nil, errSpellings
		}
		visible[key] = values
	}
	return visible, nil
}

// visibleQuery returns the query as expressions see it, unless it has parts that parsers read in different ways.
func (r *Request) visibleQuery() (map[string][]string, error) {
	_, rawQuery := r.withoutCredentials()
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, errQuery // that of net/url quotes the query
	}
	return query, nil
}

func (r *Request) withoutCredentials() (http.Header, string) {
	if r.Credentials == nil {
		return r.Header, r.Query
	}
	header := r.Header.Clone()
	return header, r.Credentials.Remove(header, r.Query)
}
