package issuer_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

func TestAThousandParallelRefreshesSignNobodyOut(t *testing.T) {
	onEveryStore(t, thousandRefreshes)
}

func thousandRefreshes(t *testing.T, w *world) {
	const total = 1000
	w.run()
	token := w.login("alice").refresh()

	answers := make([]answer, total)
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for i := range answers {
		r := w.post("/refresh", token, "")
		wg.Go(func() {
			<-gate
			var err error
			if answers[i], err = w.try(r); err != nil {
				t.Error(err)
			}
		})
	}
	close(gate)
	wg.Wait()

	var successors, access []string
	for i, a := range answers {
		if a.status != http.StatusOK {
			t.Fatalf("refresh %d: got %d %s, want 200", i, a.status, a.body)
		}
		successors = append(successors, a.refresh())
		access = append(access, a.access)
	}
	if got, want := distinct(successors), 1; got != want {
		t.Errorf("successors: got %d, want %d", got, want)
	}
	if got, want := distinct(access), total; got != want {
		t.Errorf("access tokens: got %d different ones, want %d", got, want)
	}
	w.mustRefresh(successors[0])
}

// The tabs of a browser share a cookie and wake up together, again and again, while other users do the same.
func TestTabsThatRefreshTogetherStaySignedIn(t *testing.T) {
	const users, tabs, rounds = 4, 5, 20
	w := start(t)
	var all sync.WaitGroup
	for range users {
		cookie := w.login("alice").refresh()
		all.Go(func() {
			for range rounds {
				answers := make([]answer, tabs)
				var round sync.WaitGroup
				for tab := range answers {
					round.Go(func() {
						var err error
						if answers[tab], err = w.try(w.post("/refresh", cookie, "")); err != nil {
							t.Error(err)
						}
					})
				}
				round.Wait()
				for _, a := range answers {
					if a.status != http.StatusOK || a.refresh() != answers[0].refresh() {
						t.Errorf("got %d %s, want 200 and the same successor", a.status, a.body)
						return
					}
				}
				cookie = answers[0].refresh()
			}
		})
	}
	all.Wait()
}

func TestAHundredParallelLoginsRespectTheLimit(t *testing.T) {
	onEveryStore(t, hundredLogins)
}

func hundredLogins(t *testing.T, w *world) {
	const total = 100
	w.run()
	follower := w.follow("", 0)
	follower.ready()
	answers := make([]answer, total)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			for {
				a, err := w.try(w.from(w.loginRequest("alice", passwordOf("alice")), fmt.Sprintf("198.51.%d.7", i)))
				switch {
				case err != nil:
					t.Error(err)
				case a.status == http.StatusTooManyRequests: // sent away: try again, as the answer says
					<-time.After(50 * time.Millisecond)
					continue
				case a.status != http.StatusOK:
					t.Errorf("got %d %s", a.status, a.body)
				}
				answers[i] = a
				return
			}
		})
	}
	wg.Wait()

	alive := 0
	for _, a := range answers {
		if got := w.refresh(a.refresh()); got.status == http.StatusOK {
			alive++
		} else {
			follower.revoked(w.sid(a)) // who is out is out everywhere
		}
	}
	if got, want := alive, defaults.MaxSessionsPerUser; got != want {
		t.Errorf("sessions left: got %d, want %d", got, want)
	}
}

func TestParallelLogoutsAndRefreshesAgreeInTheEnd(t *testing.T) {
	w := start(t)
	follower := w.follow("", 0)
	follower.ready()
	for range 20 {
		a := w.login("alice")
		sid := w.sid(a)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				got, err := w.try(w.post("/refresh", a.refresh(), ""))
				if err != nil || got.status != http.StatusOK && got.status != http.StatusUnauthorized {
					t.Errorf("refresh: got %d %s %v, want 200 or 401", got.status, got.body, err)
				}
			})
		}
		wg.Go(func() {
			got, err := w.try(w.post("/logout", a.refresh(), ""))
			if err != nil || got.status != http.StatusNoContent {
				t.Errorf("logout: got %d %s %v, want 204", got.status, got.body, err)
			}
		})
		wg.Wait()
		if got := w.refresh(a.refresh()); got.status != http.StatusUnauthorized {
			t.Errorf("after logout: got %d, want 401", got.status)
		}
		follower.revoked(sid)
	}
}
