package gate

import "net/http"

// Introduce turns the request that came with a request into those that the app gets: identity headers are taken out, whoever sent them and
// however they are spelt, and set from the caller's verified claims. Without a caller the app sees none.
//
// The token goes too, unless the policy keeps it. One that is not valid never stays: an app that is told to expect a verified token must
// not find another.
//
// A token that is kept reaches the app in the Authorization header where it came in the cookie of the user's session, which stays behind.
//
// It has to come last: after hop-by-hop headers were taken out, lest a Connection header name the identity headers among them.
func (g *Gate) Introduce(in, out *http.Request, caller *Caller) {
	header := out.Header
	for name := range header {
		if g.program.Strips(name) {
			delete(header, name)
		}
	}
	if g.dropsToken(caller) {
		out.URL.RawQuery = g.sources.Remove(header, out.URL.RawQuery)
	}
	if caller != nil && g.program.KeepToken() && g.sources.HasSession() {
		if found, err := g.sources.Find(in.Header, in.URL.RawQuery); err == nil && found.Session {
			header["Authorization"] = []string{"Bearer " + found.Token}
		}
	}
	if caller != nil {
		for i, value := range caller.headers {
			if value != "" {
				header[g.headers[i]] = caller.headers[i : i+1 : i+1]
			}
		}
	}
}

// KnowsEachField reports whether what Introduce does to a header can be done field by field, by Passes and Identify: tokens stand nowhere but in
// Authorization.
func (g *Gate) KnowsEachField() bool { return g.sources.AuthorizationAlone() }

// Passes reports whether the app gets a field that came. Whether it is Passes or Introduce that is asked makes no difference to the app.
func (g *Gate) Passes(name, value string, caller *Caller) bool {
	return !g.program.Strips(name) && (!g.sources.Holds(name, value) || !g.dropsToken(caller))
}

// Identify calls add with each identity header of a caller, until one is not taken.
func (g *Gate) Identify(caller *Caller, add func(name, value string) (ok bool)) (ok bool) {
	if caller == nil {
		return true
	}
	for i, value := range caller.headers {
		if value != "" && !add(g.headers[i], value) {
			return false
		}
	}
	return true
}

// dropsToken says whether the app is to see no token of this request.
func (g *Gate) dropsToken(caller *Caller) bool { return caller == nil || !g.program.KeepToken() }

// Settle completes the app's answer to a request that was introduced: to a WebSocket handshake whose token stood among the protocols, and of
// which the app has chosen none. Browsers close a connection where none of what they offered was chosen.
func (g *Gate) Settle(in *http.Request, caller *Caller, answer *http.Response) {
	if answer.StatusCode != http.StatusSwitchingProtocols || len(answer.Header["Sec-Websocket-Protocol"]) > 0 || !g.dropsToken(caller) {
		return
	}
	if taken := g.sources.ProtocolTaken(in.Header); taken != "" {
		answer.Header["Sec-Websocket-Protocol"] = []string{taken}
	}
}
