package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// reuseWindow is what the quickstart's TokenIssuer sets.
const reuseWindow = 2 * time.Second

// inForce is how soon a sign-out must be in force everywhere.
const inForce = time.Second

func refreshWith(token string) request {
	return request{Method: http.MethodPost, Path: "$APP/auth/refresh", Headers: []string{"Cookie: " + refreshCookie + "=" + token}}
}

func as(token string) request {
	return request{Path: "$APP/", Headers: []string{"Authorization: Bearer " + token}}
}

func refresh(t *trial) {
	access, before := t.vars.values["ACCESS"], t.vars.values["REFRESH"]
	t.set("OLD_REFRESH", before)
	t.findings.replaced = time.Now()
	p := t.pair(t.show(refreshWith("$REFRESH")))
	if p.access == access || p.refresh == before {
		t.fails(errors.New("a token of the pair is the same as before"))
	}
	t.must(t.use(p))
	t.passes("both are new; the refresh token before is kept as $OLD_REFRESH for later")
}

func fiftyRefreshes(t *trial) {
	t.set("REFRESH_2", t.signIn(alice).refresh)
	t.say("Alice signs in on a second device: $REFRESH_2. Fifty tabs refresh with the same cookie at the same time:")
	tab := refreshWith("$REFRESH_2")
	quiet := strings.Replace(tab.curl(), "curl -i", `curl -s -o /dev/null -w '%{http_code}\n'`, 1)
	t.screen.command("seq 50 | xargs -P50 -I{} \\\n    " + quiet + " \\\n    | sort | uniq -c")

	const n = 50
	answers, failures := make([]*answer, n), make([]error, n)
	var tabs sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		tabs.Go(func() {
			<-start
			answers[i], failures[i] = t.do(t.ctx, tab)
		})
	}
	close(start)
	tabs.Wait()
	t.must(errors.Join(failures...))
	statuses, successors := map[int]int{}, map[string]bool{}
	for _, a := range answers {
		statuses[a.Status]++
	}
	for status, count := range statuses {
		t.screen.indented(fmt.Sprintf("%7d %d", count, status))
	}
	t.screen.blank()
	for _, a := range answers {
		p := t.pair(a)
		successors[p.refresh] = true
		t.set("REFRESH_2", p.refresh)
	}
	if len(successors) != 1 {
		t.fails(fmt.Errorf("there are %d successors, want one that all share", len(successors)))
	}

	t.say("All were given the same successor, and it works:")
	p := t.pair(t.show(tab))
	t.set("REFRESH_2", p.refresh)
	t.set("ACCESS_2", p.access)
	t.findings.oldToken = p.access // signed before the key rotates
	t.passes("50 times 200, one successor")
}

func logout(t *trial) {
	p := t.signIn(alice)
	t.set("ACCESS_3", p.access)
	t.set("REFRESH_3", p.refresh)
	t.say("A third device: $ACCESS_3, good for five minutes, and $REFRESH_3.")
	t.seen(t.send(as("$ACCESS_3")))
	a := t.show(request{Method: http.MethodPost, Path: "$APP/auth/logout", Headers: []string{"Cookie: " + refreshCookie + "=$REFRESH_3"}})
	answered := time.Now()
	t.status(a, http.StatusNoContent)
	t.passes("refused %s after the logout was answered", untilRefused(t, "$ACCESS_3", answered))
}

func oldRefreshToken(t *trial) {
	if over := t.findings.replaced.Add(reuseWindow + 200*time.Millisecond); time.Now().Before(over) {
		t.await("the reuse window of 2 s must be over: whoever lost a race within it gets the same successor", 2*reuseWindow, func() (bool, string) {
			return time.Now().After(over), ""
		})
	}
	a := t.show(refreshWith("$OLD_REFRESH"))
	t.findings.replayed = time.Now()
	t.status(a, http.StatusUnauthorized)
	t.want("the reason", a.reason(), "reuse_detected")
	t.passes("reason: %s", a.reason())
}

func replayEndedSession(t *trial) {
	t.say("Somebody else had a copy of that token. Who is the thief cannot be known, so the session is over for both:")
	took := untilRefused(t, "$ACCESS", t.findings.replayed)
	t.status(t.show(refreshWith("$REFRESH")), http.StatusUnauthorized)
	t.say("Her other devices stay signed in:")
	t.want("whom the app greets", t.seen(t.show(as("$ACCESS_2"))).Hello, "alice")
	t.passes("refused %s after the replay, and the successor with it; other devices are not touched", took)
}

// untilRefused asks with an access token until it is refused, shows that, and returns how long after since it was refused, in words.
func untilRefused(t *trial, token string, since time.Time) string {
	var took time.Duration
	t.poll(5*time.Second, func() (bool, string) {
		a := t.send(as(token))
		took = time.Since(since)
		return a.Status == http.StatusUnauthorized, fmt.Sprintf("the access token is still answered %d", a.Status)
	})
	t.status(t.show(as(token)), http.StatusUnauthorized)
	if took > inForce {
		t.fails(fmt.Errorf("refused after %s, want %s at most", short(took), short(inForce)))
	}
	return short(took)
}
