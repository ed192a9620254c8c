package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// trial is one check while it is being carried out. As in package testing, what goes wrong ends the check there and then.
type trial struct {
	*demo
	ctx  context.Context
	fact string
	err  error
}

// try carries out a check.
func (d *demo) try(ctx context.Context, do func(*trial)) (fact string, err error) {
	t := &trial{demo: d, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(t)
	}()
	<-done
	return t.fact, t.err
}

// passes ends a check well, with what is worth telling about it in one line.
func (t *trial) passes(format string, args ...any) { t.fact = fmt.Sprintf(format, args...) }

// fails ends a check badly.
func (t *trial) fails(err error) {
	t.err = err
	if t.ctx.Err() != nil {
		t.err = errors.New("interrupted")
	}
	runtime.Goexit()
}

func (t *trial) must(err error) {
	if err != nil {
		t.fails(err)
	}
}

func (t *trial) want(what, got, want string) {
	if got != want {
		t.fails(fmt.Errorf("%s is %q, want %q", what, got, want))
	}
}

// show makes a request before the reader's eyes.
func (t *trial) show(r request) *answer {
	t.screen.command(r.curl())
	a := t.send(r)
	t.showAnswer(a)
	return a
}

// send makes a request without showing it.
func (t *trial) send(r request) *answer {
	a, err := t.do(t.ctx, r)
	t.must(err)
	return a
}

// status is what an answer must have.
func (t *trial) status(a *answer, want int) { t.must(a.status(want)) }

// pair reads the pair that a login or a refresh gave.
func (t *trial) pair(a *answer) *pair {
	p, err := pairOf(a)
	t.must(err)
	return p
}

// signIn signs somebody in without showing it.
func (t *trial) signIn(who request) *pair { return t.pair(t.send(who)) }

// seen reads what the app answered with.
func (t *trial) seen(a *answer) seenByApp {
	t.status(a, 200)
	var seen seenByApp
	t.must(a.into(&seen))
	return seen
}

// set gives a shell variable its value.
func (t *trial) set(name, value string) { t.must(t.vars.set(name, value)) }

// poll asks every 20 ms until it is done.
func (t *trial) poll(limit time.Duration, ask func() (done bool, status string)) {
	_, err := poll(t.ctx, limit, ask)
	t.must(err)
}

// await is poll with its progress shown.
func (t *trial) await(text string, limit time.Duration, ask func() (done bool, status string)) {
	t.must(await(t.ctx, t.screen, text, limit, ask))
	t.screen.blank()
}

// patch changes one of the quickstart's objects before the reader's eyes.
func (t *trial) patch(kind, patch string) { t.must(t.patchSpec(t.ctx, kind, patch)) }

func (t *trial) say(format string, args ...any) { t.screen.note(indent(fmt.Sprintf(format, args...))) }
