package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// asHolder carries the access token that is called $ACCESS.
const asHolder = "Authorization: Bearer $ACCESS"

// alice and bob are the quickstart's users.
var (
	alice = request{Path: "$APP/auth/login", JSON: `{"username":"alice","password":"wonderland"}`}
	bob   = request{Path: "$APP/auth/login", JSON: `{"username":"bob","password":"can we fix it"}`}
)

func noToken(t *trial) {
	a := t.show(request{Path: "$APP/"})
	t.status(a, http.StatusUnauthorized)
	if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
		t.fails(fmt.Errorf("WWW-Authenticate is %q, want the Bearer scheme (RFC 6750)", got))
	}
	t.passes("and WWW-Authenticate says what would help")
}

func garbageToken(t *trial) {
	a := t.show(request{Path: "$APP/", Headers: []string{"Authorization: Bearer garbage"}})
	t.status(a, http.StatusUnauthorized)
	t.passes("reason: %s", a.reason())
}

func publicPath(t *trial) {
	seen := t.seen(t.show(request{Path: "$APP/public/news"}))
	t.want("whom the app greets", seen.Hello, "stranger")
	t.passes("the app greets a stranger")
}

func wrongPassword(t *trial) {
	a := t.show(request{Path: "$APP/auth/login", JSON: `{"username":"alice","password":"looking-glass"}`})
	t.status(a, http.StatusUnauthorized)
	t.passes("reason: %s", a.reason())
}

func login(t *trial) {
	p := t.pair(t.show(alice))
	if c := p.cookie; !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/auth" {
		t.fails(fmt.Errorf("the cookie is %s; want HttpOnly, Secure, SameSite=Strict and Path=/auth", abbreviate(c.Raw)))
	}
	header, claims, err := decode(p.access)
	t.must(err)
	t.say("The access token says:")
	t.screen.indented(header)
	t.screen.indented(claims)
	t.screen.blank()
	t.must(t.use(p))
	t.passes("the cookie goes to /auth alone, and no script can read it")
}

func identity(t *trial) {
	seen := t.seen(t.show(request{Path: "$APP/", Headers: []string{
		asHolder, "X-Auth-Subject: root", "x_auth_subject: root", "X-Auth-Roles: owner", "Cookie: theme=dark; " + refreshCookie + "=$REFRESH",
	}}))
	for name, values := range seen.Headers {
		for _, value := range values {
			switch {
			case strings.Contains(value, "root") || strings.Contains(value, "owner"):
				t.fails(fmt.Errorf("the app received the spoofed header %s: %s", name, value))
			case strings.Contains(value, refreshCookie) || strings.Contains(value, t.vars.values["ACCESS"]):
				t.fails(fmt.Errorf("the app received a secret in %s", name))
			}
		}
	}
	t.want("X-Auth-Subject", seen.Headers.Get("X-Auth-Subject"), "alice")
	t.want("X-Auth-Email", seen.Headers.Get("X-Auth-Email"), "alice@quickstart.example")
	t.want("X-Auth-Roles", seen.Headers.Get("X-Auth-Roles"), "admin")
	t.want("Cookie", seen.Headers.Get("Cookie"), "theme=dark")
	t.passes("alice, admin; the app sees neither token nor refresh cookie, and its own cookies still")
}

func missingRole(t *trial) {
	t.seen(t.show(request{Path: "$APP/admin", Headers: []string{asHolder}}))
	t.say("That was alice. Now bob, who is no admin:")
	p := t.pair(t.show(bob))
	t.set("BOB", p.access)
	t.set("BOB_REFRESH", p.refresh)
	t.status(t.show(request{Path: "$APP/admin", Headers: []string{"Authorization: Bearer $BOB"}}), http.StatusForbidden)
	t.passes("alice passes, bob does not")
}

// shortTokens leaves a token behind that a later check finds expired.
func shortTokens(t *trial) {
	p, took := changeLifetime(t, 10*time.Second)
	t.findings.short = p.access
	t.set("SHORT", p.access)
	t.say("After %s bob's next refresh brings a token that is good for 10 s. It is kept as $SHORT until it has expired. And back:\n\n", short(took))
	changeLifetime(t, 5*time.Minute)
	t.passes("in force after %s, nothing restarted", short(took))
}

// changeLifetime sets the lifetime of access tokens, and refreshes bob's until that shows. It returns the first such pair, and how long it
// took to come about.
func changeLifetime(t *trial, lifetime time.Duration) (*pair, time.Duration) {
	t.patch("tokenissuer", fmt.Sprintf(`{"spec":{"accessToken":{"ttl":"%.0fs"}}}`, lifetime.Seconds()))
	changed := time.Now()
	var p *pair
	t.poll(10*time.Second, func() (bool, string) {
		p = t.pair(t.send(refreshWith("$BOB_REFRESH")))
		t.set("BOB_REFRESH", p.refresh)
		return (p.lifetime - lifetime).Abs() <= time.Second, "tokens are good for " + p.lifetime.String() // expires_in is in whole seconds
	})
	return p, time.Since(changed)
}

// seenByApp is what the quickstart's app answers.
type seenByApp struct {
	Hello   string
	Headers http.Header
}

// pair is what a login or a refresh gives.
type pair struct {
	access, refresh string
	lifetime        time.Duration // of access
	cookie          *http.Cookie
}

func pairOf(a *answer) (*pair, error) {
	if err := a.status(http.StatusOK); err != nil {
		return nil, err
	}
	var body struct {
		Access  string `json:"access_token"`
		Expires int    `json:"expires_in"`
	}
	if err := a.into(&body); err != nil {
		return nil, err
	}
	for _, line := range a.Header["Set-Cookie"] {
		if cookie, err := http.ParseSetCookie(line); err == nil && cookie.Name == refreshCookie && cookie.Value != "" {
			return &pair{access: body.Access, refresh: cookie.Value, lifetime: time.Duration(body.Expires) * time.Second, cookie: cookie}, nil
		}
	}
	return nil, fmt.Errorf("%s: the answer sets no cookie %s", a.request, refreshCookie)
}

// use makes a pair the one that commands call $ACCESS and $REFRESH.
func (d *demo) use(p *pair) error {
	return errors.Join(d.vars.set("ACCESS", p.access), d.vars.set("REFRESH", p.refresh))
}

// decode shows what a JWT says, for people: nothing is verified here.
func decode(token string) (header, claims string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", "", fmt.Errorf("the access token has %d parts, want 3", len(parts))
	}
	first, errFirst := base64.RawURLEncoding.DecodeString(parts[0])
	second, errSecond := base64.RawURLEncoding.DecodeString(parts[1])
	if err := errors.Join(errFirst, errSecond); err != nil {
		return "", "", fmt.Errorf("the access token is no JWT: %w", err)
	}
	return string(first), pretty(second), nil
}

// keyOf is the kid of a token, and expiryOf its exp; of what is no token they are zero.
func keyOf(token string) string {
	var header struct{ Kid string }
	if text, _, err := decode(token); err != nil || json.Unmarshal([]byte(text), &header) != nil {
		return ""
	}
	return header.Kid
}

func expiryOf(token string) time.Time {
	var claims struct{ Exp int64 }
	if _, text, err := decode(token); err != nil || json.Unmarshal([]byte(text), &claims) != nil {
		return time.Time{}
	}
	return time.Unix(claims.Exp, 0)
}
