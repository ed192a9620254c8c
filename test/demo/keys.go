package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// rotation shows a key being published and then taken into use, while clients send requests all the time.
func (d *demo) rotation(ctx context.Context) (string, error) {
	before, err := d.signingKey(ctx)
	if err != nil {
		return "", err
	}
	old := before.Status.ActiveKeyID
	clients := newTraffic(d)
	if err := clients.start(ctx, 4); err != nil {
		return "", err
	}
	defer clients.stop()
	d.screen.note(indent("Four clients of bob's send requests all the time and refresh often. Then a rotation that is due every ten seconds:"))
	if err := d.patch(ctx, "signingkey", `{"spec":{"rotateEvery":"10s","publishLead":"3s"}}`); err != nil {
		return "", err
	}
	began := time.Now()
	d.screen.command("kubectl -n quickstart get signingkey quickstart -w -o custom-columns='KEYS:.status.keys[*].keyID,PHASES:.status.keys[*].phase'")
	d.screen.note(indent(pad("", 10) + pad("KEYS", 24) + "PHASES"))
	shown := ""
	next := ""
	_, err = poll(ctx, 30*time.Second, func() (bool, string) {
		now, err := d.signingKey(ctx)
		if err != nil {
			return false, err.Error()
		}
		if ring := ringOf(now); ring != shown {
			shown = ring
			d.screen.indented(d.screen.paint(dim, pad("+"+short(time.Since(began)), 10)) + ring)
		}
		next = now.Status.ActiveKeyID
		// Some more traffic under the new key, before anything is set back.
		return next != old && clients.signedBy(next) >= 8, "the ring is " + shown
	})
	if err != nil {
		return "", err
	}
	d.screen.blank()
	if err := d.patch(ctx, "signingkey", `{"spec":{"rotateEvery":"720h","publishLead":"1h"}}`); err != nil {
		return "", err
	}
	report := clients.stop()
	signed := report.signedBy
	d.screen.indented(fmt.Sprintf("%d requests and %d refreshes, %d refused; of the new tokens %s signed %d, then %s signed %d", report.requests, report.refreshes,
		len(report.failures), shortKey(old), signed[old], shortKey(next), signed[next]))
	d.screen.blank()
	d.found.oldKey = old
	if len(report.failures) > 0 {
		return "", fmt.Errorf("%d of %d were refused; the first: %w", len(report.failures), report.requests+report.refreshes, report.failures[0])
	}
	return fmt.Sprintf("%d requests while a key was published, then signed; none refused", report.requests+report.refreshes), nil
}

func (d *demo) tokenOfOldKey(ctx context.Context) (string, error) {
	if got, want := keyOf(d.found.oldToken), d.found.oldKey; got != want {
		return "", fmt.Errorf("$ACCESS_2 was signed by %s, want %s", got, want)
	}
	a, err := d.show(ctx, request{Path: "$APP/public", Headers: []string{"Authorization: Bearer $ACCESS_2"}})
	if err != nil {
		return "", err
	}
	var seen seenByApp
	if err := errors.Join(a.status(http.StatusOK), a.into(&seen)); err != nil {
		return "", err
	}
	return shortKey(d.found.oldKey) + " verifies until its last token has expired", want("the app greets", seen.Hello, "alice")
}

func (d *demo) expiredToken(ctx context.Context) (string, error) {
	if d.found.short == "" {
		return "", errors.New("no token that expires soon was made: see the check of token lifetimes")
	}
	expires := expiryOf(d.found.short)
	expired := request{Path: "$APP/", Headers: []string{"Authorization: Bearer $SHORT"}}
	const clockSkew = 5 * time.Second // the AuthPolicy's default
	var first *answer
	ask := func() (bool, string) {
		a, err := d.send(ctx, expired)
		if err != nil {
			return false, err.Error()
		}
		first = a
		return a.Status == http.StatusUnauthorized, fmt.Sprintf("%s past its exp", short(max(0, time.Since(expires))))
	}
	if done, _ := ask(); !done {
		limit := time.Until(expires) + clockSkew + 2*time.Second
		if err := await(ctx, d.screen, "$SHORT, good for 10 s, is taken for 5 s more: clocks may differ by that much", limit, ask); err != nil {
			return "", err
		}
		d.screen.blank()
	}
	if early := time.Until(expires); early > 0 {
		return "", fmt.Errorf("it was refused %s before it expired: %s", short(early), first.Body)
	}
	a, err := d.show(ctx, expired)
	if err != nil {
		return "", err
	}
	return "reason: " + a.reason(), errors.Join(a.status(http.StatusUnauthorized), want("reason", a.reason(), "expired"))
}

func (d *demo) revokedKey(ctx context.Context) (string, error) {
	if d.found.oldKey == "" {
		return "", errors.New("no key has rotated out: see the check of the rotation")
	}
	began := time.Now()
	if err := d.patch(ctx, "signingkey", `{"spec":{"revokedKeyIDs":["`+d.found.oldKey+`"]}}`); err != nil {
		return "", err
	}
	took, err := d.untilRefused(ctx, "$ACCESS_2", began)
	if err != nil {
		return "", err
	}
	d.screen.note(indent("Alice's session is as it was: a refresh brings a token of the key that signs now."))
	a, err := d.send(ctx, request{Method: http.MethodPost, Path: "$APP/auth/refresh", Headers: []string{"Cookie: " + refreshCookie + "=$REFRESH_2"}})
	if err != nil {
		return "", err
	}
	p, err := pairOf(a)
	if err != nil {
		return "", err
	}
	if err := errors.Join(d.vars.set("ACCESS_2", p.access), d.vars.set("REFRESH_2", p.refresh)); err != nil {
		return "", err
	}
	good, err := d.show(ctx, request{Path: "$APP/", Headers: []string{"Authorization: Bearer $ACCESS_2"}})
	if err != nil {
		return "", err
	}
	return "its tokens are refused " + short(took) + " after the patch", errors.Join(good.status(http.StatusOK), within(took))
}

func (d *demo) signingKey(ctx context.Context) (*v1alpha1.SigningKey, error) {
	key := &v1alpha1.SigningKey{}
	err := d.kube.Get(ctx, quickstartKey, key)
	return key, interrupted(ctx, err)
}

// ringOf is a ring in one line.
func ringOf(key *v1alpha1.SigningKey) string {
	var keys, phases []string
	for _, k := range key.Status.Keys {
		keys, phases = append(keys, shortKey(k.KeyID)), append(phases, string(k.Phase))
	}
	return pad(strings.Join(keys, ","), 24) + strings.Join(phases, ",")
}

// shortKey is enough of a kid to tell it from the others.
func shortKey(kid string) string { return kid[:min(8, len(kid))] + "…" }

// traffic is clients that send requests all the time.
type traffic struct {
	demo    *demo
	cancel  context.CancelFunc
	clients sync.WaitGroup

	mu     sync.Mutex
	report report
}

type report struct {
	requests, refreshes int
	signedBy            map[string]int // by kid, tokens given out
	failures            []error
}

func newTraffic(d *demo) *traffic {
	return &traffic{demo: d, report: report{signedBy: map[string]int{}}}
}

// start signs n clients in and sets them going.
func (t *traffic) start(ctx context.Context, n int) error {
	ctx, t.cancel = context.WithCancel(ctx)
	for range n {
		p, err := t.demo.signIn(ctx, bob)
		if err != nil {
			t.cancel()
			return err
		}
		t.clients.Go(func() { t.keepAsking(ctx, p) })
	}
	return nil
}

// keepAsking sends a request every 20 ms, and refreshes after every tenth.
func (t *traffic) keepAsking(ctx context.Context, p *pair) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for turn := 1; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if turn%10 == 0 {
			a, err := t.demo.send(ctx, request{Method: http.MethodPost, Path: "$APP/auth/refresh", Headers: []string{"Cookie: " + refreshCookie + "=" + p.refresh}})
			var next *pair
			if err == nil {
				next, err = pairOf(a)
			}
			if ctx.Err() != nil {
				return
			}
			t.note(func(r *report) {
				r.refreshes++
				if err != nil {
					r.failures = append(r.failures, err)
					return
				}
				r.signedBy[keyOf(next.access)]++
			})
			if err == nil {
				p = next
			}
			continue
		}
		a, err := t.demo.send(ctx, request{Path: "$APP/", Headers: []string{"Authorization: Bearer " + p.access}})
		if err == nil {
			err = a.status(http.StatusOK)
		}
		if ctx.Err() != nil {
			return
		}
		t.note(func(r *report) {
			r.requests++
			if err != nil {
				r.failures = append(r.failures, err)
			}
		})
	}
}

func (t *traffic) note(change func(*report)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.report)
}

func (t *traffic) signedBy(kid string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.report.signedBy[kid]
}

// stop ends the clients and returns what they met with.
func (t *traffic) stop() report {
	t.cancel()
	t.clients.Wait()
	return t.report
}
