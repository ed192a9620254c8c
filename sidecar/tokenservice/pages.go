package tokenservice

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// An app whose pages are rendered on a server has nobody in the browser who could keep a token or renew it. So the sidecar turns what the token
// service answers into two cookies, and back: the token service knows of one cookie, and that it is for its own routes.

// refreshCookie is what the token service calls it.
const refreshCookie = CookiePrefix + "refresh"

// maxCookie is how long name and value of a cookie may be together. Browsers drop a longer one and say nothing (RFC 6265bis, section 5.7).
const maxCookie = 4096

// maxReply bounds what a token service answers.
const maxReply = 64 << 10

// errTooLong says that no browser would keep the access token.
var errTooLong = errors.New("the access token is too long for a cookie; have the TokenIssuer put fewer or shorter claims into it")

// reply is what the token service says, so far as it concerns the cookies.
type reply struct {
	status  int
	reason  string   // of a refusal
	access  string   // "" where there is none
	cookies []string // values of Set-Cookie; none where the cookies stay as they are
}

// readReply takes an answer of the token service, and returns its body as well.
func readReply(answer *http.Response) (*reply, []byte, error) {
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxReply))
	if err != nil {
		return nil, nil, err
	}
	var told struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Reason      string `json:"reason"`
	}
	_ = json.Unmarshal(body, &told) // what is no JSON says nothing of this
	r := &reply{status: answer.StatusCode, reason: told.Reason}
	for _, cookie := range answer.Cookies() {
		switch {
		case cookie.Name != refreshCookie:
		case cookie.MaxAge < 0:
			r.cookies = []string{setCookie(credential.AccessCookie, "", -1), setCookie(credential.RefreshCookie, "", -1)}
		case told.AccessToken == "" || told.ExpiresIn <= 0 || cookie.Value == "":
			return nil, nil, errors.New("the token service sent one token without the other")
		case len(credential.AccessCookie)+len(told.AccessToken) > maxCookie:
			return nil, nil, errTooLong
		default:
			r.access = told.AccessToken
			r.cookies = []string{
				setCookie(credential.AccessCookie, told.AccessToken, told.ExpiresIn), setCookie(credential.RefreshCookie, cookie.Value, cookie.MaxAge),
			}
		}
	}
	if answer.StatusCode == http.StatusOK && told.AccessToken != "" && r.access == "" {
		return nil, nil, errors.New("the token service sent no refresh token by cookie")
	}
	return r, body, nil
}

// setCookie is Lax, so that somebody who follows a link from elsewhere is signed in. What else other sites may cause is the gate's to judge.
func setCookie(name, value string, maxAge int) string {
	cookie := http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	return cookie.String()
}

// keepInCookies changes what the token service answers to a script into what this browser is to keep.
func (s *Routes) keepInCookies(answer *http.Response) error {
	if !s.rendered() || len(answer.Header["Set-Cookie"]) == 0 {
		return nil
	}
	told, body, err := readReply(answer)
	if err != nil {
		return err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	answer.Header["Set-Cookie"] = told.cookies
	return nil
}

// Adopt changes the token service's cookie, where the app hands it on because it has signed somebody in or out by itself, into what this browser is
// to keep, and reports whether there was one. An access token of whoever was signed in before goes; the next request gets one by the new session.
func (s *Routes) Adopt(header http.Header) bool {
	adopted := false
	if !s.rendered() {
		return adopted
	}
	var kept []string
	for _, line := range header["Set-Cookie"] {
		name, _, _ := strings.Cut(line, "=")
		cookie, err := http.ParseSetCookie(line)
		switch {
		case !credential.IsOwn(strings.TrimSpace(name)):
			kept = append(kept, line)
		case err == nil && cookie.Name == refreshCookie && !adopted:
			adopted = true
			kept = append(kept, setCookie(credential.AccessCookie, "", -1), setCookie(credential.RefreshCookie, cookie.Value, cookie.MaxAge))
		}
	}
	if len(kept) != len(header["Set-Cookie"]) || adopted {
		header["Set-Cookie"] = kept
	}
	return adopted
}

// rendered says whether the app's pages are rendered on a server.
func (s *Routes) rendered() bool { return s.signIn != "" }

// request makes a request of the sidecar's own to a route of the token service, on behalf of one that came in. It holds on to nothing of that.
func (s *Routes) request(in *http.Request, route string, headers []string) *http.Request {
	out := &http.Request{Method: http.MethodPost, URL: s.client.endpoint(route), Host: in.Host, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	for _, name := range headers {
		if values := in.Header[name]; len(values) > 0 {
			out.Header[name] = append([]string(nil), values...)
		}
	}
	s.introduce(in, out.Header)
	return out
}

// introduce says who asks and by which way, in headers that only the sidecar writes.
func (s *Routes) introduce(in *http.Request, header http.Header) {
	tracing.Pass(in.Header, header)
	header.Set("X-Forwarded-For", s.proxies.client(in))
	header.Set("X-Forwarded-Prefix", s.prefix)
	s.client.token.Show(header)
	// A token service that goes may close a connection just when a request is sent on it, unread. This lets the transport send it once more, over
	// another; the header itself is not sent. What was read after all does no harm when it comes twice: a refresh has the same successor, a sign-in is one more
	// session, and what has ended has ended.
	header["Idempotency-Key"] = []string{}
}

// ask sends such a request, and waits no longer than ctx for the answer.
func (s *Routes) ask(ctx context.Context, out *http.Request) (*reply, error) {
	answer, err := s.client.transport.RoundTrip(out.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	told, _, err := readReply(answer)
	return told, err
}

// translate gives the token service its own cookie in place of the browser's, and the access token where it judges one. What is there more than
// once stays so: the token service refuses it. A cookie of the other name is not taken: a neighbouring domain may have planted it.
func translate(in, out http.Header, bearer bool) {
	for _, cookie := range (&http.Request{Header: in}).CookiesNamed(credential.RefreshCookie) {
		out.Add("Cookie", refreshCookie+"="+cookie.Value)
	}
	if access, times := credential.Cookie(in, credential.AccessCookie); bearer && times == 1 && access != "" && len(in["Authorization"]) == 0 {
		out.Set("Authorization", "Bearer "+access)
	}
}

// SignIn returns where a browser is to go that asked for a page and was refused for want of a token, or "" where it is to see the refusal: the
// caller is no browser, or wants the very page with the form.
func (s *Routes) SignIn(r *http.Request, path string) string {
	if !s.rendered() || path == s.signIn || !navigates(r) {
		return ""
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return s.signIn // what was sent is lost, and would not be asked for
	}
	wanted := path
	if r.URL.RawQuery != "" {
		wanted += "?" + r.URL.RawQuery
	}
	if _, sound := ownPath(wanted); !sound {
		return s.signIn
	}
	return s.signIn + "?" + url.Values{"return": {wanted}}.Encode()
}

// unreachable is what is logged where the token service does not answer, cut short, as net/http quotes what it could not read.
func unreachable(err error) string { return fmt.Sprintf("%.200v", err) }
