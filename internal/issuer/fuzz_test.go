package issuer_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
)

// Whatever a Cookie header holds: it is never a server error, nobody gets in with it who was not given that very token, and nobody loses a
// cookie by it.
func FuzzCookie(f *testing.F) {
	w := start(f)
	genuine := w.login("alice").refresh()
	f.Add(issuer.CookieName + "=rubbish")
	f.Add(issuer.CookieName + "=\"" + strings.Repeat("A", 76) + "\"")
	f.Add(issuer.CookieName + "=AQ" + strings.Repeat("A", 74) + "; " + issuer.CookieName + "=")
	f.Add("a=b; " + issuer.CookieName + " = c;;; =; \x01")
	f.Fuzz(func(t *testing.T, cookie string) {
		// First as it is, then beside the genuine one, which it must not be able to hide.
		for _, header := range []string{cookie, issuer.CookieName + "=" + genuine + "; " + cookie} {
			r := w.post("/refresh", "", "")
			r.Header["Cookie"] = []string{header}
			a, err := w.try(r)
			if err != nil {
				return // the client itself refuses to send it
			}
			switch a.status {
			case http.StatusOK:
				if !strings.Contains(header, genuine) {
					t.Fatalf("signed in with %q", header)
				}
				genuine = a.refresh()
			case http.StatusBadRequest, http.StatusUnauthorized, http.StatusRequestHeaderFieldsTooLarge:
				if a.cookie != nil {
					t.Fatalf("lost the cookie over %q: %v", header, a.cookie)
				}
			default:
				t.Fatalf("got %d for %q", a.status, header)
			}
		}
	})
}

func FuzzLogin(f *testing.F) {
	w := start(f)
	f.Add(`{"username":"alice","password":"wrong"}`)
	f.Add(`{"username":"alice","password":"a","password":"b"}`)
	f.Add(`{"username":"\ud800","password":null}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, body string) {
		a, err := w.try(w.post("/login", "", body))
		if err != nil {
			t.Fatal(err)
		}
		switch a.status {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusUnsupportedMediaType, http.StatusTooManyRequests:
		default:
			t.Fatalf("got %d for %q", a.status, body)
		}
	})
}

// Whatever comes as a form: it is never a server error, and a session is renewed or ended only by a token of its own.
func FuzzForm(f *testing.F) {
	w := newWorld(f)
	c := defaults
	c.Delivery = config.DeliverInBody
	w.writeConfig(c)
	w.run()
	genuine := w.login("alice").refresh()
	f.Add("/token", "grant_type=refresh_token&refresh_token=rubbish")
	f.Add("/token", "grant_type=refresh_token&refresh_token=a&refresh_token=b")
	f.Add("/token", "grant_type=password&username=alice&password=x")
	f.Add("/token", "grant_type=refresh_token&refresh_token=AQ"+strings.Repeat("A", 74))
	f.Add("/revoke", "token=e30.e30.e30&token_type_hint=access_token")
	f.Add("/revoke", "token=%00&token=%zz;a=b")
	f.Add("/introspect", "token=a")
	f.Fuzz(func(t *testing.T, route, body string) {
		if route != "/token" && route != "/revoke" && route != "/introspect" {
			return
		}
		r := w.post(route, "", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		a, err := w.try(r)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case a.status == http.StatusOK && route == "/revoke": // it says so of every token
		case a.status == http.StatusBadRequest, a.status == http.StatusUnauthorized && route == "/introspect":
		default:
			t.Fatalf("got %d for %q to %s", a.status, body, route)
		}
		next, err := w.try(w.form("/token", "grant_type", "refresh_token", "refresh_token", genuine))
		if err != nil || next.status != http.StatusOK {
			t.Fatalf("%q to %s cost a session: %d %s, %v", body, route, next.status, next.body, err)
		}
		genuine = next.refresh()
	})
}
