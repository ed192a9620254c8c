package issuer_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer"
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
