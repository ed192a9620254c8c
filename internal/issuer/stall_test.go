package issuer_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// stall has another process lock the database: it can be read, and not be written.
func (w *world) stall() (resume func()) {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "data", "sessions.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE"); err != nil {
		w.t.Fatal(err)
	}
	resume = sync.OnceFunc(func() {
		if err := db.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(resume) // or the token service could not stop
	return resume
}

// waiting sends a refresh, and returns when its session has been looked up: as many as these look-ups there have been.
func (w *world) waiting(token string, lookups int) <-chan answer {
	w.t.Helper()
	told := make(chan answer, 1)
	go func() {
		a, err := w.try(w.post("/refresh", token, ""))
		if err != nil {
			w.t.Error(err)
		}
		told <- a
	}()
	w.eventually("the session is looked up", func() bool { return strings.Contains(w.metric(), fmt.Sprintf("%s %d\n", done("find"), lookups)) })
	return told
}

// done is the metric that counts what the store has done of a kind.
func done(kind string) string {
	return `latchkey_issuer_store_operation_duration_seconds_count{operation="` + kind + `",result="ok"}`
}

// stalledFor refreshes while nothing can be written for so long, and returns the token that was shown, and the answer.
func (w *world) stalledFor(pass time.Duration) (token string, late answer) {
	w.t.Helper()
	token = w.login("alice").refresh()
	resume := w.stall()
	told := w.waiting(token, 1)
	looks := w.metricValue(done("revocations"))
	w.eventually("a look at the store is over", func() bool { return w.metricValue(done("revocations")) > looks }) // or it would seem to take as long
	w.clock.step(pass)
	resume()
	return token, <-told
}

func TestATokenThatWasReplacedWhileItWaitedForTheStoreIsNoTheft(t *testing.T) {
	w := start(t)
	token := w.login("alice").refresh()
	resume := w.stall()
	first := w.waiting(token, 1)
	w.clock.step(defaults.ReuseWindow + time.Second)
	second := w.waiting(token, 2)
	resume()
	one, two := <-first, <-second
	if one.status != http.StatusOK || two.status != http.StatusOK || one.refresh() != two.refresh() {
		t.Errorf("got %d %s and %d %s, want the same successor twice", one.status, one.body, two.status, two.body)
	}
}

// A slow tab shows the token before the current one, in time, and meanwhile the current one is replaced.
func TestTheTokenBeforeIsNoTheftIfItCameInTime(t *testing.T) {
	w := start(t)
	before := w.login("alice").refresh()
	current := w.mustRefresh(before).refresh()
	w.clock.step(defaults.ReuseWindow * 2 / 3)
	resume := w.stall()
	quick := w.waiting(current, 2)
	slow := w.waiting(before, 3)
	resume()
	for _, told := range []answer{<-quick, <-slow} {
		if told.status != http.StatusOK {
			t.Errorf("got %d %s, want 200", told.status, told.body)
		}
	}
	refused(t, w.refresh(before), http.StatusUnauthorized, "reuse_detected", true)
}

// The client had gone before its answer came, and asks again with what it has.
func TestAnAnswerThatCameTooLateBecauseNothingCouldBeWrittenIsGivenAgain(t *testing.T) {
	w := start(t)
	token, missed := w.stalledFor(defaults.ReuseWindow + time.Second)
	if again := w.mustRefresh(token); again.refresh() != missed.refresh() {
		t.Error("got another successor than the one that came too late")
	}
	w.clock.step(defaults.ReuseWindow)
	w.mustRefresh(missed.refresh())
	refused(t, w.refresh(token), http.StatusUnauthorized, "reuse_detected", true)
}

// Else who keeps a token service busy could go on for as long with a token that was replaced meanwhile.
func TestAStallOfMoreThanAMinuteHidesNoTheft(t *testing.T) {
	w := start(t)
	token, _ := w.stalledFor(2 * time.Minute)
	refused(t, w.refresh(token), http.StatusUnauthorized, "reuse_detected", true)
}
