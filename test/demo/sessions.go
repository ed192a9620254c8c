package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// reuseWindow is what the quickstart's TokenIssuer sets.
const reuseWindow = 2 * time.Second

// withinASecond is what the design promises for a sign-out to be in force everywhere.
const withinASecond = time.Second

var refresh = request{Method: http.MethodPost, Path: "$APP/auth/refresh", Headers: []string{"Cookie: " + refreshCookie + "=$REFRESH"}}

func (d *demo) refresh(ctx context.Context) (string, error) {
	before := pair{access: d.vars.values["ACCESS"], refresh: d.vars.values["REFRESH"]}
	if err := d.vars.set("OLD_REFRESH", before.refresh); err != nil {
		return "", err
	}
	d.found.replaced = time.Now()
	a, err := d.show(ctx, refresh)
	if err != nil {
		return "", err
	}
	after, err := pairOf(a)
	if err != nil {
		return "", err
	}
	if after.access == before.access || after.refresh == before.refresh {
		return "", errors.New("a token of the pair is the same as before")
	}
	return "both are new; the refresh token before is kept as $OLD_REFRESH for later", d.use(after)
}

func (d *demo) fiftyRefreshes(ctx context.Context) (string, error) {
	p, err := d.signIn(ctx, alice)
	if err != nil {
		return "", err
	}
	if err := d.vars.set("REFRESH_2", p.refresh); err != nil {
		return "", err
	}
	d.screen.note(indent("Alice signs in on a second device: $REFRESH_2. Fifty tabs refresh with the same cookie at the same time:"))
	second := request{Method: http.MethodPost, Path: "$APP/auth/refresh", Headers: []string{"Cookie: " + refreshCookie + "=$REFRESH_2"}}
	d.screen.command(`seq 50 | xargs -P50 -I{} ` + strings.Replace(second.curl(), "curl -i", `curl -s -o /dev/null -w '%{http_code}\n'`, 1) + ` | sort | uniq -c`)

	const n = 50
	answers, failures := make([]*answer, n), make([]error, n)
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			answers[i], failures[i] = d.send(ctx, second)
		})
	}
	close(start)
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		return "", err
	}
	statuses, successors := map[int]int{}, map[string]bool{}
	var last *pair
	for _, a := range answers {
		statuses[a.Status]++
		if p, err := pairOf(a); err == nil {
			successors[p.refresh] = true
			last = p
		}
	}
	for status, count := range statuses {
		d.screen.indented(fmt.Sprintf("%7d %d", count, status))
	}
	d.screen.blank()
	if statuses[http.StatusOK] != n {
		return "", fmt.Errorf("%d of %d were answered 200", statuses[http.StatusOK], n)
	}
	if len(successors) != 1 {
		return "", fmt.Errorf("there are %d successors, want one that all share", len(successors))
	}
	if err := d.vars.set("REFRESH_2", last.refresh); err != nil {
		return "", err
	}
	d.screen.note(indent("All were given the same successor, and it works:"))
	a, err := d.show(ctx, second)
	if err != nil {
		return "", err
	}
	next, err := pairOf(a)
	if err != nil {
		return "", err
	}
	d.found.oldToken = next.access // signed before the key rotates
	return "50 times 200, one successor", errors.Join(d.vars.set("REFRESH_2", next.refresh), d.vars.set("ACCESS_2", next.access))
}

func (d *demo) logout(ctx context.Context) (string, error) {
	p, err := d.signIn(ctx, alice)
	if err != nil {
		return "", err
	}
	if err := errors.Join(d.vars.set("ACCESS_3", p.access), d.vars.set("REFRESH_3", p.refresh)); err != nil {
		return "", err
	}
	d.screen.note(indent("A third device: $ACCESS_3, good for five minutes, and $REFRESH_3."))
	if a, err := d.send(ctx, request{Path: "$APP/", Headers: []string{"Authorization: Bearer $ACCESS_3"}}); err != nil {
		return "", err
	} else if err := a.status(http.StatusOK); err != nil {
		return "", fmt.Errorf("before the logout: %w", err)
	}
	a, err := d.show(ctx, request{Method: http.MethodPost, Path: "$APP/auth/logout", Headers: []string{"Cookie: " + refreshCookie + "=$REFRESH_3"}})
	if err != nil {
		return "", err
	}
	began := time.Now()
	if a.Status != http.StatusOK && a.Status != http.StatusNoContent {
		return "", a.status(http.StatusNoContent)
	}
	took, err := d.untilRefused(ctx, "$ACCESS_3", began)
	if err != nil {
		return "", err
	}
	return "refused " + short(took) + " after the logout was answered", within(took)
}

func (d *demo) oldRefreshToken(ctx context.Context) (string, error) {
	if wait := time.Until(d.found.replaced.Add(reuseWindow + 200*time.Millisecond)); wait > 0 {
		err := d.screen.step("the reuse window of 2 s must be over: whoever lost a race within it gets the same successor", func(func(string)) (string, error) {
			return "", sleep(ctx, wait)
		})
		if err != nil {
			return "", err
		}
		d.screen.blank()
	}
	a, err := d.show(ctx, request{Method: http.MethodPost, Path: "$APP/auth/refresh", Headers: []string{"Cookie: " + refreshCookie + "=$OLD_REFRESH"}})
	if err != nil {
		return "", err
	}
	d.found.replayed = time.Now()
	return "reason: " + a.reason(), errors.Join(a.status(http.StatusUnauthorized), want("reason", a.reason(), "reuse_detected"))
}

func (d *demo) replayEndedSession(ctx context.Context) (string, error) {
	d.screen.note(indent("Somebody else had a copy of that token. Who is the thief cannot be known, so the session is over for both:"))
	took, err := d.untilRefused(ctx, "$ACCESS", d.found.replayed)
	if err != nil {
		return "", err
	}
	a, err := d.show(ctx, refresh)
	if err != nil {
		return "", err
	}
	if err := a.status(http.StatusUnauthorized); err != nil {
		return "", fmt.Errorf("the successor still works: %w", err)
	}
	d.screen.note(indent("Her other devices stay signed in:"))
	other, err := d.show(ctx, request{Path: "$APP/public", Headers: []string{"Authorization: Bearer $ACCESS_2"}})
	if err != nil {
		return "", err
	}
	var seen seenByApp
	if err := errors.Join(other.status(http.StatusOK), other.into(&seen), want("the app greets", seen.Hello, "alice")); err != nil {
		return "", err
	}
	return "refused " + short(took) + " after the replay, and the successor with it; other devices are not touched", within(took)
}

// signIn signs in without showing it.
func (d *demo) signIn(ctx context.Context, who request) (*pair, error) {
	a, err := d.send(ctx, who)
	if err != nil {
		return nil, err
	}
	return pairOf(a)
}

// untilRefused asks with an access token until it is refused, then shows that, and returns how long after since it was.
func (d *demo) untilRefused(ctx context.Context, variable string, since time.Time) (time.Duration, error) {
	ask := request{Path: "$APP/", Headers: []string{"Authorization: Bearer " + variable}}
	var took time.Duration
	_, err := poll(ctx, 5*time.Second, func() (bool, string) {
		a, err := d.send(ctx, ask)
		if err != nil {
			return false, err.Error()
		}
		took = time.Since(since)
		return a.Status == http.StatusUnauthorized, fmt.Sprintf("answered %d", a.Status)
	})
	if err != nil {
		return took, fmt.Errorf("the access token is still taken: %w", err)
	}
	a, err := d.show(ctx, ask)
	if err != nil {
		return took, err
	}
	return took, a.status(http.StatusUnauthorized)
}

func within(took time.Duration) error {
	if took > withinASecond {
		return fmt.Errorf("it took %s, want at most a second", short(took))
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
