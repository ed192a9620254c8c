package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// rotation shows a key being published and then taken into use, while clients send requests all the time.
func rotation(t *trial) {
	old := signingKey(t).Status.ActiveKeyID
	clients := newTraffic(t.demo)
	t.must(clients.start(t.ctx, 4))
	defer clients.stop()

	t.say("Four clients of bob's send requests all the time and refresh often. Then a rotation that is due every ten seconds:")
	t.patch("signingkey", `{"spec":{"rotateEvery":"10s","publishLead":"3s","retain":"15m"}}`)
	t.screen.command("kubectl -n quickstart get signingkey quickstart -w -o custom-columns='KEYS:.status.keys[*].keyID,PHASES:.status.keys[*].phase'")
	t.say("%s%sPHASES", pad("", 10), pad("KEYS", 24))
	next, err := t.watchRing(clients, old)
	t.must(err)
	t.patch("signingkey", `{"spec":{"rotateEvery":"720h","publishLead":"1h","retain":"24h"}}`)

	report := clients.stop()
	t.screen.indented(fmt.Sprintf("In all %s. Of the new tokens %s signed %d, then %s signed %d.",
		report, shortKey(old), report.signedBy[old], shortKey(next), report.signedBy[next]))
	t.screen.blank()
	t.findings.oldKey = old
	if len(report.failures) > 0 {
		t.fails(fmt.Errorf("%s; the first: %w", report, report.failures[0]))
	}
	t.passes("%d requests while a key was published, then signed; none refused", report.requests+report.refreshes)
}

// watchRing shows the ring whenever it changes, until another key than old signs, and has signed some tokens. It returns that key's id.
func (t *trial) watchRing(clients *traffic, old string) (next string, err error) {
	began, shown, published := time.Now(), "", map[string]bool{}
	progress := t.screen.progress("steady requests")
	defer func() {
		progress.done(err, clients.sofar().String())
		t.screen.blank()
	}()
	_, err = poll(t.ctx, 30*time.Second, func() (bool, string) {
		key := &v1alpha1.SigningKey{}
		if unread := t.kube.Get(t.ctx, quickstartKey, key); unread != nil {
			return false, unread.Error()
		}
		if ring := ringOf(key); ring != shown {
			shown = ring
			t.screen.indented(t.screen.paint(dim, pad("+"+short(time.Since(began)), 10)) + ring)
		}
		for _, k := range key.Status.Keys {
			published[k.KeyID] = published[k.KeyID] || k.Phase == v1alpha1.KeyPending
		}
		next = key.Status.ActiveKeyID
		progress.say(clients.sofar().String())
		return next != old && clients.sofar().signedBy[next] >= 8, "the ring is " + shown
	})
	if err == nil && !published[next] {
		err = fmt.Errorf("%s signs, but was never seen published before", shortKey(next))
	}
	return next, err
}

func tokenOfOldKey(t *trial) {
	if t.findings.oldKey == "" {
		t.fails(errors.New("no key has rotated out: see the check of the rotation"))
	}
	t.want("the key of $ACCESS_2", keyOf(t.findings.oldToken), t.findings.oldKey)
	t.say("What only an admin's token opens:")
	admin := request{Path: "$APP/admin", Headers: []string{"Authorization: Bearer $ACCESS_2"}}
	t.want("whom the app greets", t.seen(t.show(admin)).Hello, "alice")
	t.passes("%s verifies until its last token has expired", shortKey(t.findings.oldKey))
}

// clockSkew is the AuthPolicy's default.
const clockSkew = 5 * time.Second

func expiredToken(t *trial) {
	if t.findings.short == "" {
		t.fails(errors.New("no token that expires soon was made: see the check of token lifetimes"))
	}
	expires := expiryOf(t.findings.short)
	refused := func() (bool, string) {
		a := t.send(as("$SHORT"))
		if now := time.Now(); a.Status == http.StatusUnauthorized && now.Before(expires) {
			t.fails(fmt.Errorf("it was refused %s before its exp", short(expires.Sub(now))))
		}
		return a.Status == http.StatusUnauthorized, short(max(0, time.Since(expires))) + " past its exp"
	}
	if already, _ := refused(); !already {
		t.await("$SHORT, good for 10 s, is taken for 5 s more: clocks may differ by that much", time.Until(expires)+clockSkew+2*time.Second, refused)
	}
	a := t.show(as("$SHORT"))
	t.status(a, http.StatusUnauthorized)
	t.want("the reason", a.reason(), "expired")
	t.passes("reason: %s", a.reason())
}

func revokedKey(t *trial) {
	if t.findings.oldKey == "" {
		t.fails(errors.New("no key has rotated out: see the check of the rotation"))
	}
	asked := time.Now()
	t.patch("signingkey", `{"spec":{"revokedKeyIDs":["`+t.findings.oldKey+`"]}}`)
	took := untilRefused(t, "$ACCESS_2", asked)
	t.say("Alice's session is as it was: a refresh brings a token of the key that signs now.")
	p := t.pair(t.send(refreshWith("$REFRESH_2")))
	t.set("REFRESH_2", p.refresh)
	t.set("ACCESS_2", p.access)
	t.seen(t.show(as("$ACCESS_2")))
	t.passes("its tokens are refused %s after the patch", took)
}

func signingKey(t *trial) *v1alpha1.SigningKey {
	key := &v1alpha1.SigningKey{}
	t.must(t.kube.Get(t.ctx, quickstartKey, key))
	return key
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
