package tokenservice

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// A page without scripts signs people in and out by plain forms. Browsers show whatever they are answered, so the answers are redirects to pages
// of the app.

// Reasons that forms are refused for.
const (
	ReasonCrossOrigin  = "cross_origin"
	ReasonTokenTooLong = "access_token_too_long"
)

// malformed is the token service's own word.
const malformed = "malformed_request"

const urlencoded = "application/x-www-form-urlencoded"

// forms lists the routes that take one.
var forms = map[string]bool{"/login": true, "/logout": true, "/logout-all": true}

func isForm(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == urlencoded
}

// serveForm answers a form. Other sites can send forms, too, so the browser must say that this one comes from a page of the app's own; it says so
// in Sec-Fetch-Site, or, where it is old or the connection is not secure, in Origin.
func (s *Routes) serveForm(w http.ResponseWriter, r *http.Request, route string, body []byte) {
	if !fromOwnPage(r) {
		s.refuse(w, r, http.StatusForbidden, ReasonCrossOrigin)
		return
	}
	fields, err := parseForm(string(body))
	if err != nil {
		s.toSignIn(w, malformed, "/")
		return
	}
	onward, _ := ownPath(fields["return"])
	if route == "/login" {
		s.loginByForm(w, r, fields, onward)
		return
	}
	s.logoutByForm(w, r, route, fields["return"])
}

func (s *Routes) loginByForm(w http.ResponseWriter, r *http.Request, fields map[string]string, onward string) {
	credentials, err := json.Marshal(map[string]string{"username": fields["username"], "password": fields["password"]})
	if err != nil { // strings
		panic(err)
	}
	out := s.request(r, "/login", forwarded)
	translate(r.Header, out.Header, false) // the session that the browser has had is replaced
	out.Header.Set("Content-Type", "application/json")
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(credentials)), nil }
	out.Body, _ = out.GetBody()
	out.ContentLength = int64(len(credentials))
	told, err := s.ask(r.Context(), out)
	switch {
	case err != nil:
		reason, _ := s.unanswered(r, err)
		s.toSignIn(w, reason, onward)
	case told.status != http.StatusOK || told.access == "":
		s.toSignIn(w, told.reason, onward)
	default:
		w.Header()["Set-Cookie"] = told.cookies
		SeeOther(w, onward)
	}
}

// logoutByForm does not say that somebody is signed out who is not.
func (s *Routes) logoutByForm(w http.ResponseWriter, r *http.Request, route, wanted string) {
	onward, sound := ownPath(wanted)
	if !sound {
		onward = s.signIn
	}
	told, err := s.logout(w, r, route)
	switch {
	case err != nil:
		reason, status := s.unanswered(r, err)
		w.Header().Set("Retry-After", "2")
		s.refuse(w, r, status, reason)
	case told.status == http.StatusNoContent:
		w.Header()["Set-Cookie"] = told.cookies
		SeeOther(w, onward)
	case told.status == http.StatusUnauthorized: // nobody is signed in
		SeeOther(w, onward)
	default:
		w.Header().Set("Retry-After", "2")
		s.refuse(w, r, http.StatusServiceUnavailable, ReasonUnreachable)
	}
}

// logout has the token service end the request's session, or all of its user's. For these it wants a good access token, so where there is none, the
// session is renewed first. It says 401 only where nobody is signed in.
func (s *Routes) logout(w http.ResponseWriter, r *http.Request, route string) (*reply, error) {
	told, err := s.askToEnd(r, route, r.Header)
	if err != nil || told.status != http.StatusUnauthorized {
		return told, err
	}
	renewal := s.Renew(r, time.Now())
	w.Header()["Set-Cookie"] = renewal.Cookies // should it not go on
	switch renewal.Outcome {
	case Ended, NotRenewed:
		return told, nil
	case Renewed:
		told, err = s.askToEnd(r, route, credential.WithAccess(r.Header, renewal.Access))
	case Unavailable:
	}
	if err == nil && told.status == http.StatusUnauthorized {
		told.status = http.StatusServiceUnavailable
	}
	return told, err
}

func (s *Routes) askToEnd(r *http.Request, route string, header http.Header) (*reply, error) {
	out := s.request(r, route, forwarded)
	out.Header.Del("Content-Type")
	translate(header, out.Header, route == "/logout-all")
	return s.ask(r.Context(), out)
}

// unanswered logs why there is no answer that could be used, and says what to tell.
func (s *Routes) unanswered(r *http.Request, err error) (reason string, status int) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the caller has gone
	}
	if errors.Is(err, errTooLong) {
		s.log.ErrorContext(r.Context(), "nobody can sign in", "error", err)
		return ReasonTokenTooLong, http.StatusInternalServerError
	}
	s.log.WarnContext(r.Context(), "token service does not answer", "address", s.client.host, "error", unreachable(err))
	return ReasonUnreachable, http.StatusServiceUnavailable
}

// toSignIn sends the browser back to the page with the form, which can say what was wrong.
func (s *Routes) toSignIn(w http.ResponseWriter, reason, onward string) {
	SeeOther(w, s.signIn+"?"+url.Values{"reason": {reason}, "return": {onward}}.Encode())
}

// SeeOther sends a browser to another page of the app. Nobody keeps the answer.
func SeeOther(w http.ResponseWriter, path string) {
	w.Header().Set("Location", path)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusSeeOther)
}

// parseForm takes each field once.
func parseForm(body string) (map[string]string, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string, len(values))
	for name, all := range values {
		if len(all) > 1 {
			return nil, errors.New("a field is there more than once")
		}
		fields[name] = all[0]
	}
	return fields, nil
}

// fromOwnPage wants to be told so: who says nothing may be anybody.
func fromOwnPage(r *http.Request) bool {
	if sites := r.Header["Sec-Fetch-Site"]; len(sites) > 0 {
		return len(sites) == 1 && sites[0] == "same-origin"
	}
	origins := r.Header["Origin"]
	if len(origins) != 1 {
		return false
	}
	origin, err := url.Parse(origins[0])
	return err == nil && origin.Host != "" && origin.Host == r.Host
}

// navigates says whether a browser asks for a page, to show it.
func navigates(r *http.Request) bool {
	if modes := r.Header["Sec-Fetch-Mode"]; len(modes) > 0 {
		return len(modes) == 1 && modes[0] == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// maxReturn bounds a path to come back to.
const maxReturn = 2048

// ownPath returns a path and query of this host as they were given, or "/" and false for whatever else it is: another host in any spelling that a
// browser takes for one, or what would end the header.
func ownPath(wanted string) (path string, sound bool) {
	raw, query, _ := strings.Cut(wanted, "?")
	normal, err := policy.Normalize(raw)
	if err != nil || normal != raw || len(wanted) > maxReturn {
		return "/", false
	}
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return "/", false
		}
	}
	return wanted, true
}
