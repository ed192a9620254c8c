package rotationload

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/signing"
)

const (
	users         = 6
	audience      = "load"
	loginIssuer   = "https://login.example.com" // the policy takes tokens of this issuer that are signed with the SigningKey named login
	refreshCookie = "__Secure-latchkey-refresh"
	// afterwards is how long a token is still sent after its time.
	afterwards = 1500 * time.Millisecond
	// patience is how long an answer may take, on a busy machine.
	patience = time.Minute
)

// clients are everybody who sends requests.
type clients struct {
	sidecars []string // host and port
	http     *http.Client
	record   *record
	holders  sync.WaitGroup
}

func newClients(sidecars []string, record *record) *clients {
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	return &clients{sidecars: sidecars, http: &http.Client{Transport: transport, Timeout: patience}, record: record}
}

// hold uses a token until its time has been over for a while: on every sidecar at once, then now and then, and densely around its end.
func (c *clients) hold(ctx context.Context, t *token) {
	c.record.issue(t.kid, t.got)
	c.holders.Go(func() {
		var all sync.WaitGroup
		for sidecar := range c.sidecars {
			all.Go(func() { c.use(ctx, t, sidecar) })
		}
		all.Wait()
		for sidecar := rand.IntN(len(c.sidecars)); ; sidecar = (sidecar + 1) % len(c.sidecars) {
			left := time.Until(c.record.goodUntil(t))
			pause := 40 * time.Millisecond
			switch {
			case left < -afterwards:
				return
			case left > time.Second:
				pause = min(300*time.Millisecond+rand.N(400*time.Millisecond), left-time.Second+pause)
			}
			if !wait(ctx, pause) {
				return
			}
			c.use(ctx, t, sidecar)
		}
	})
}

// use sends one request with a token, and notes what became of it.
func (c *clients) use(ctx context.Context, t *token, sidecar int) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.sidecars[sidecar]+"/", nil)
	if err != nil {
		panic(err) // an address of digits
	}
	request.Header.Set("Authorization", "Bearer "+t.text)
	u := use{token: t, sidecar: sidecar, sent: time.Now()}
	var body []byte
	response, err := c.http.Do(request)
	if err == nil {
		body, err = io.ReadAll(response.Body)
		response.Body.Close()
	}
	u.answered = time.Now()
	switch {
	case ctx.Err() != nil:
		return // the run is over
	case err != nil:
		u.detail = err.Error()
	default:
		u.status = response.StatusCode
		if u.status != http.StatusOK {
			u.detail = reason(body)
		}
	}
	c.record.used(u)
}

// reason is the stable reason in a refusal's body.
func reason(body []byte) string {
	var problem struct{ Reason string }
	_ = json.Unmarshal(body, &problem) // another body gives none
	return problem.Reason
}

// signIn is a user who signs in, refreshes every few seconds, and after some refreshes signs in anew.
func (c *clients) signIn(ctx context.Context, user int) {
	for ctx.Err() == nil {
		cookie := c.login(ctx, user)
		for range 8 {
			if cookie == "" || !wait(ctx, time.Second+rand.N(3*time.Second)) {
				break
			}
			cookie = c.refresh(ctx, cookie)
		}
		if cookie == "" && !wait(ctx, time.Second) {
			return
		}
	}
}

func (c *clients) login(ctx context.Context, user int) (cookie string) {
	body := fmt.Sprintf(`{"username":"user-%d","password":"wonderland"}`, user)
	return c.session(ctx, "login", body, "", func(r *record) { r.logins++ })
}

func (c *clients) refresh(ctx context.Context, cookie string) string {
	return c.session(ctx, "refresh", "", cookie, func(r *record) { r.refreshes++ })
}

// session sends a request to the token service, by way of any sidecar. It returns the refresh cookie, or "" when it failed.
func (c *clients) session(ctx context.Context, route, body, cookie string, count func(*record)) string {
	got, next, err := c.exchange(ctx, route, body, cookie)
	if ctx.Err() != nil {
		return ""
	}
	if err != nil {
		c.record.fails("%s: %v", route, err)
		return ""
	}
	c.record.mu.Lock()
	count(c.record)
	c.record.mu.Unlock()
	c.hold(ctx, got)
	return next
}

func (c *clients) exchange(ctx context.Context, route, body, cookie string) (*token, string, error) {
	url := "http://" + c.sidecars[rand.IntN(len(c.sidecars))] + "/auth/" + route
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		request.Header.Set("Cookie", refreshCookie+"="+cookie)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, "", err
	}
	if response.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("status %d, reason %q", response.StatusCode, reason(text))
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	if err = json.Unmarshal(text, &answer); err != nil {
		return nil, "", err
	}
	got, err := read(answer.Token)
	for _, set := range response.Cookies() {
		if set.Name == refreshCookie {
			cookie = set.Value
		}
	}
	return got, cookie, err
}

// signOwn signs tokens as a login server of one's own does: with the active key of the ring that it last read. They live longer than
// their keys, now and then.
func (c *clients) signOwn(ctx context.Context, ring func() *signing.Ring) {
	for wait(ctx, time.Second+rand.N(time.Second)) {
		text, err := sign(ring(), 20*time.Second+rand.N(90*time.Second))
		var got *token
		if err == nil {
			got, err = read(text)
		}
		if err != nil {
			c.record.fails("sign: %v", err)
			continue
		}
		c.hold(ctx, got)
	}
}

func sign(ring *signing.Ring, lifetime time.Duration) (string, error) {
	key, ok := ring.Active()
	if !ok {
		return "", errors.New("no key of the ring is active")
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": loginIssuer, "aud": audience, "sub": "somebody", "iat": now.Unix(), "exp": now.Add(lifetime).Unix(), "jti": strconv.FormatUint(rand.Uint64(), 36),
	})
	if err != nil {
		return "", err
	}
	return key.Sign("at+jwt", claims)
}

// read reads what a client may know of its token. Nothing is verified: that is what sidecars are for.
func read(text string) (*token, error) {
	t := &token{text: text, got: time.Now()}
	var header struct{ Kid string }
	var claims struct{ Exp int64 }
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("a token has three parts, not %d", len(parts))
	}
	for i, into := range []any{&header, &claims} {
		part, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(part, into)
		}
		if err != nil {
			return nil, fmt.Errorf("read a token: %w", err)
		}
	}
	t.kid, t.exp = header.Kid, time.Unix(claims.Exp, 0)
	return t, nil
}

// wait waits, and says whether the run goes on.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
