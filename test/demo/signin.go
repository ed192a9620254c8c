package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const asHolder = "Authorization: Bearer $ACCESS"

func (d *demo) noToken(ctx context.Context) (string, error) {
	a, err := d.show(ctx, request{Path: "$APP/"})
	if err != nil {
		return "", err
	}
	if err := a.status(http.StatusUnauthorized); err != nil {
		return "", err
	}
	if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
		return "", fmt.Errorf("WWW-Authenticate is %q, want the Bearer scheme (RFC 6750)", got)
	}
	return "and WWW-Authenticate says what would help", nil
}

func (d *demo) garbageToken(ctx context.Context) (string, error) {
	a, err := d.show(ctx, request{Path: "$APP/", Headers: []string{"Authorization: Bearer garbage"}})
	if err != nil {
		return "", err
	}
	return "reason: " + a.reason(), a.status(http.StatusUnauthorized)
}

func (d *demo) publicPath(ctx context.Context) (string, error) {
	a, err := d.show(ctx, request{Path: "$APP/public/news"})
	if err != nil {
		return "", err
	}
	if err := a.status(http.StatusOK); err != nil {
		return "", err
	}
	var seen seenByApp
	if err := a.into(&seen); err != nil {
		return "", err
	}
	return "the app greets a " + seen.Hello, want("the app greets", seen.Hello, "stranger")
}

func (d *demo) wrongPassword(ctx context.Context) (string, error) {
	a, err := d.show(ctx, request{Path: "$APP/auth/login", JSON: `{"username":"alice","password":"looking-glass"}`})
	if err != nil {
		return "", err
	}
	return "reason: " + a.reason(), a.status(http.StatusUnauthorized)
}

func (d *demo) login(ctx context.Context) (string, error) {
	a, err := d.show(ctx, alice)
	if err != nil {
		return "", err
	}
	pair, err := pairOf(a)
	if err != nil {
		return "", err
	}
	cookie := pair.cookie
	if !cookie.HttpOnly || !cookie.Secure || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/auth" {
		return "", fmt.Errorf("the cookie is %s; want HttpOnly, Secure, SameSite=Strict and Path=/auth", abbreviate(cookie.Raw))
	}
	header, claims, err := decode(pair.access)
	if err != nil {
		return "", err
	}
	d.screen.note(indent("The access token says:"))
	d.screen.indented(header)
	d.screen.indented(claims)
	d.screen.blank()
	return "the cookie goes to /auth alone, and no script can read it", d.use(pair)
}

func (d *demo) identity(ctx context.Context) (string, error) {
	a, err := d.show(ctx, request{Path: "$APP/", Headers: []string{
		asHolder, "X-Auth-Subject: root", "x_auth_subject: root", "X-Auth-Roles: owner", "Cookie: theme=dark; " + refreshCookie + "=$REFRESH",
	}})
	if err != nil {
		return "", err
	}
	if err := a.status(http.StatusOK); err != nil {
		return "", err
	}
	var seen seenByApp
	if err := a.into(&seen); err != nil {
		return "", err
	}
	for name, values := range seen.Headers {
		for _, value := range values {
			switch {
			case strings.Contains(value, "root") || strings.Contains(value, "owner"):
				return "", fmt.Errorf("the app received the spoofed header %s: %s", name, value)
			case strings.Contains(value, refreshCookie) || strings.Contains(value, d.vars.values["ACCESS"]):
				return "", fmt.Errorf("the app received a secret in %s", name)
			}
		}
	}
	return "alice, admin; neither token nor refresh cookie reaches the app, and its own cookies do", errors.Join(
		want("X-Auth-Subject", seen.Headers.Get("X-Auth-Subject"), "alice"),
		want("X-Auth-Email", seen.Headers.Get("X-Auth-Email"), "alice@quickstart.example"),
		want("X-Auth-Roles", seen.Headers.Get("X-Auth-Roles"), "admin"),
		want("Cookie", seen.Headers.Get("Cookie"), "theme=dark"),
	)
}

func (d *demo) missingRole(ctx context.Context) (string, error) {
	admitted, err := d.show(ctx, request{Path: "$APP/admin", Headers: []string{asHolder}})
	if err != nil {
		return "", err
	}
	if err := admitted.status(http.StatusOK); err != nil {
		return "", fmt.Errorf("alice, who is an admin: %w", err)
	}
	d.screen.note(indent("That was alice. Now bob, who is no admin:"))
	a, err := d.show(ctx, bob)
	if err != nil {
		return "", err
	}
	pair, err := pairOf(a)
	if err != nil {
		return "", err
	}
	if err := errors.Join(d.vars.set("BOB", pair.access), d.vars.set("BOB_REFRESH", pair.refresh)); err != nil {
		return "", err
	}
	refused, err := d.show(ctx, request{Path: "$APP/admin", Headers: []string{"Authorization: Bearer $BOB"}})
	if err != nil {
		return "", err
	}
	return "alice passes, bob does not", refused.status(http.StatusForbidden)
}

// shortTokens leaves a token behind that a later check finds expired.
func (d *demo) shortTokens(ctx context.Context) (string, error) {
	soon, took, err := d.changeLifetime(ctx, "10s", 10*time.Second)
	if err != nil {
		return "", err
	}
	if err := d.vars.set("SHORT", soon.access); err != nil {
		return "", err
	}
	d.found.short = soon.access
	d.screen.note(indent(fmt.Sprintf("After %s bob's next refresh brings a token that is good for 10 s. It is kept as $SHORT until it has expired. And back:\n", short(took))))
	if _, _, err := d.changeLifetime(ctx, "5m", 5*time.Minute); err != nil {
		return "", err
	}
	return "in force after " + short(took) + ", nothing restarted", nil
}

// changeLifetime sets the lifetime of access tokens, and refreshes bob's until that shows. It returns the first such pair, and how long it
// took to come about.
func (d *demo) changeLifetime(ctx context.Context, ttl string, wanted time.Duration) (*pair, time.Duration, error) {
	if err := d.patch(ctx, "tokenissuer", `{"spec":{"accessToken":{"ttl":"`+ttl+`"}}}`); err != nil {
		return nil, 0, err
	}
	changed := time.Now()
	var got *pair
	_, err := poll(ctx, 10*time.Second, func() (bool, string) {
		a, err := d.send(ctx, request{Method: http.MethodPost, Path: "$APP/auth/refresh", Headers: []string{"Cookie: " + refreshCookie + "=$BOB_REFRESH"}})
		if err == nil {
			got, err = pairOf(a)
		}
		if err == nil {
			err = d.vars.set("BOB_REFRESH", got.refresh)
		}
		if err != nil {
			return false, err.Error()
		}
		return (got.lifetime - wanted).Abs() <= time.Second, fmt.Sprintf("tokens are good for %s", got.lifetime) // expires_in is in whole seconds
	})
	return got, time.Since(changed), err
}

// alice and bob are the quickstart's users.
var (
	alice = request{Path: "$APP/auth/login", JSON: `{"username":"alice","password":"wonderland"}`}
	bob   = request{Path: "$APP/auth/login", JSON: `{"username":"bob","password":"can we fix it"}`}
)

// seenByApp is what the quickstart's app answers.
type seenByApp struct {
	Hello   string
	Headers http.Header
}

// pair is what a login or a refresh gives.
type pair struct {
	access, refresh string
	lifetime        time.Duration
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
	return nil, fmt.Errorf("%s: the answer sets no cookie %s", a.request.curl(), refreshCookie)
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

// keyOf is the kid of a token.
func keyOf(token string) string {
	var header struct{ Kid string }
	if text, _, err := decode(token); err != nil || json.Unmarshal([]byte(text), &header) != nil {
		return ""
	}
	return header.Kid
}

// expiryOf is the exp of a token.
func expiryOf(token string) time.Time {
	var claims struct{ Exp int64 }
	if _, text, err := decode(token); err != nil || json.Unmarshal([]byte(text), &claims) != nil {
		return time.Time{}
	}
	return time.Unix(claims.Exp, 0)
}

func want(what, got, wanted string) error {
	if got != wanted {
		return fmt.Errorf("%s is %q, want %q", what, got, wanted)
	}
	return nil
}
