package sidecar_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What one tab brings home late must not undo what another tab, or the app itself, has done meanwhile.

func TestAppThatSignsSomebodyInOrOutHasTheLastWord(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "__Secure-latchkey-refresh="+r.URL.Query().Get("token")+"; Path=/auth; Max-Age="+r.URL.Query().Get("age")+"; HttpOnly; Secure; SameSite=Strict")
	}))
	service.serve()
	w.start()
	w.secrets = append(w.secrets, "refresh-of-bob")
	got := w.do("POST", "/public/sso?token=refresh-of-bob&age=60", "", s.absent(), "Sec-Fetch-Site: same-origin")
	got.wantCookies(t, []string{accessCookie + cleared, refreshCookie + "=refresh-of-bob; Path=/; Max-Age=60" + attributes})
	got = w.do("POST", "/public/sign-out?age=0", "", s.absent(), "Sec-Fetch-Site: same-origin")
	got.wantCookies(t, []string{accessCookie + cleared, refreshCookie + cleared})
}

func TestCookiesOfASessionThatWasEndedMeanwhileAreNotSet(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	asked := make(chan struct{})
	w.serveApp(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	service.serve()
	w.start()
	w.waitFollowed()
	answers := make(chan answer, 1)
	go func() { answers <- w.do("POST", "/orders", "", s.absent(), "Sec-Fetch-Site: same-origin") }()
	<-asked
	service.revoke("session-of-alice") // in another tab, where somebody else may have signed in since
	got := <-answers
	if got.Status != http.StatusUnauthorized || got.reason() != "revoked" {
		t.Errorf("got %d %q, want 401 revoked", got.Status, got.reason())
	}
	got.wantCookies(t, nil)
}

func TestCookiesOfASessionThatHasEndedAreClearedAtOnceOrNotAtAll(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	service.serve()
	w.start()
	gone := []string{accessCookie + cleared, refreshCookie + cleared}

	stale := s.absent()
	s.counter += 2
	got := w.do("POST", "/public/search", "", stale, "Sec-Fetch-Site: same-origin") // whose answer may be long in coming
	if seen := got.seen(t); seen.Header.Get("X-Auth-Subject") != "" {
		t.Errorf("got subject %q at the app, want nobody", seen.Header.Get("X-Auth-Subject"))
	}
	got.wantCookies(t, nil)

	s.ended = false
	stale = s.absent()
	s.counter += 2
	got = w.do("GET", "/public/page?a=b", "", stale)
	if got.Status != http.StatusTemporaryRedirect || got.Header.Get("Location") != "/public/page?a=b" {
		t.Errorf("got %d to %q, want 307 to the same page", got.Status, got.Header.Get("Location"))
	}
	got.wantCookies(t, gone)
	got = w.do("GET", "/public/page", "", stale) // of a browser that keeps them
	got.seen(t)
	got.wantCookies(t, nil)
}

func TestSigningOutEverywhereIsNotSaidToBeDoneWhenItIsNot(t *testing.T) {
	w, service, s := newRenderedApp(t, nil)
	service.serve()
	w.start()
	own := "Sec-Fetch-Site: same-origin"
	onward := url.Values{"return": {"/public"}}

	got := w.form("/auth/logout-all", onward, own, s.expired()) // or of a key that was withdrawn
	if got.Status != http.StatusSeeOther || got.Header.Get("Location") != "/public" || !s.ended {
		t.Errorf("got %d to %q, session ended %t; want 303 when it is", got.Status, got.Header.Get("Location"), s.ended)
	}
	got.wantCookies(t, []string{accessCookie + cleared, refreshCookie + cleared})

	s.ended = false
	service.mu.Lock()
	service.answer = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refresh" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		s.serve(w, r)
	}
	service.mu.Unlock()
	for name, cookies := range map[string]string{"an access token that is over": s.expired(), "none": s.absent()} {
		got = w.form("/auth/logout-all", onward, own, cookies)
		if got.Status != http.StatusServiceUnavailable || len(got.Header["Set-Cookie"]) > 0 || s.ended {
			t.Errorf("%s: got %d with cookies %q, want 503: the session goes on", name, got.Status, got.Header["Set-Cookie"])
		}
	}
}

// Whoever makes up refresh tokens makes the sidecar ask about each. Callers who hang up do not take the question back.
func TestRenewalsUnderWayAreBounded(t *testing.T) {
	const most, callers = 256, 400
	w, service, s := newRenderedApp(t, nil)
	w.serveApp(http.HandlerFunc(echo))
	hold := make(chan struct{})
	service.answer = func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Cookie"), "made-up") {
			<-hold
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.serve(w, r)
	}
	service.serve()
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	w.start()
	began := time.Now()
	var waiting sync.WaitGroup
	var turned atomic.Int64
	come := func(ctx context.Context, from int) {
		for i := range callers {
			waiting.Go(func() {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.podIP+":"+port+"/orders", nil)
				check(t, err)
				request.Header.Set("Cookie", fmt.Sprintf("%s=made-up-%d", refreshCookie, from+i))
				response, err := w.client.Do(request)
				if err != nil {
					return // who hung up
				}
				defer response.Body.Close()
				said, _ := io.ReadAll(response.Body)
				if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(said), "token_service_unreachable") {
					t.Errorf("got %d %s, want 503 token_service_unreachable", response.StatusCode, said)
				}
				turned.Add(1)
			})
		}
	}
	ctx, hangUp := context.WithCancel(t.Context())
	come(ctx, 0)
	w.eventually("those beyond are turned away", func() bool { return turned.Load() >= callers-most })
	hangUp()
	waiting.Wait()
	come(t.Context(), callers)
	waiting.Wait()
	const renewWithin = 5 * time.Second // then there is room for others
	if got, want := len(service.takeAsked()), most*(1+int(time.Since(began)/renewWithin)); got > want {
		t.Errorf("got %d renewals, want %d at most", got, want)
	}
	release()
	w.eventually("there is room again", func() bool { return w.do("GET", "/orders", "", s.absent()).Status == http.StatusTemporaryRedirect })
}
