package gate

import "net/http"

// identityHeader is one header that the app knows the caller by.
type identityHeader struct {
	name   string // canonical
	values []string
}

func (g *Gate) identify(claims map[string]any) []identityHeader {
	var headers []identityHeader
	g.program.Identify(claims, func(name, value string) {
		headers = append(headers, identityHeader{http.CanonicalHeaderKey(name), []string{value}})
	})
	return headers
}

// Introduce turns the headers that came with a request into those that the app gets: identity headers are taken out, whoever sent them and
// however they are spelt, and set from the caller's verified claims. Without a caller the app sees none.
//
// The token goes too, unless the policy keeps it. One that is not valid never stays: an app that is told to expect a verified token must
// not find another.
//
// It has to come last: after hop-by-hop headers were taken out, lest a Connection header name the identity headers among them.
func (g *Gate) Introduce(header http.Header, caller *Caller) {
	for name := range header {
		if g.program.Strips(name) {
			delete(header, name)
		}
	}
	if (caller == nil || !g.program.KeepToken()) && bearsToken(header) {
		delete(header, "Authorization")
	}
	if caller != nil {
		for _, identity := range caller.headers {
			header[identity.name] = identity.values
		}
	}
}
