package main

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"
)

// check is one thing that must be true. do shows it to the reader.
type check struct {
	name string
	do   func(*trial)
}

// chapters are the checks in the order in which they are shown. Some leave tokens behind for later ones, in findings.
var chapters = []struct {
	name   string
	checks []check
}{
	{"At the door", []check{
		{"no token is 401", noToken},
		{"garbage for a token is 401", garbageToken},
		{"a public path needs no token", publicPath},
	}},
	{"Signing in", []check{
		{"a wrong password is 401", wrongPassword},
		{"login gives an access token and a refresh cookie", login},
		{"the app sees who it is, and never a spoofed header", identity},
		{"a missing role is 403", missingRole},
		{"a changed token lifetime is taken live", shortTokens},
	}},
	{"Staying signed in, and signing out", []check{
		{"a refresh gives a new pair", refresh},
		{"fifty refreshes at once sign nobody out", fiftyRefreshes},
		{"logout stops the access token within a second", logout},
		{"an old refresh token is useless", oldRefreshToken},
		{"its replay has ended the session", replayEndedSession},
	}},
	{"Keys", []check{
		{"the key rotates under steady requests, none refused", rotation},
		{"a token of the key before is still good", tokenOfOldKey},
		{"an expired token is 401", expiredToken},
		{"a revoked kid is refused", revokedKey},
	}},
	{"Objects", []check{
		{"a wrong object is refused at apply, with path and reason", wrongObjects},
		{"a pod that asks for the sidecar never runs without one", podWithoutPolicy},
	}},
}

// findings are what checks leave for later ones.
type findings struct {
	short    string    // an access token that is soon expired
	replaced time.Time // when $OLD_REFRESH was
	replayed time.Time // when it came again
	oldKey   string    // kid of the key that rotated out
	oldToken string    // an access token signed by it
}

type result struct {
	name, fact string
	err        error
}

// runChecks shows every check, then the table of what came of them. It returns how many failed; those that were not reached count.
func (d *demo) runChecks(ctx context.Context) (failed int) {
	d.screen.note("\n  The commands below are what is sent. For a shell of yours that knows their variables, while this runs:  . " + d.relative(d.vars.file))
	number := 0
	for _, chapter := range chapters {
		if ctx.Err() != nil {
			break
		}
		d.screen.chapter(chapter.name)
		for _, check := range chapter.checks {
			if ctx.Err() != nil {
				break
			}
			number++
			d.screen.heading(number, check.name)
			fact, err := d.try(ctx, check.do)
			if ctx.Err() != nil {
				break
			}
			d.screen.verdict(err, fact)
			d.results = append(d.results, result{check.name, fact, err})
		}
	}
	if ctx.Err() != nil {
		return 0
	}
	return d.showTable()
}

func (d *demo) showTable() (failed int) {
	d.screen.chapter("What was checked")
	width := 0
	for _, result := range d.results {
		width = max(width, utf8.RuneCountInString(result.name))
	}
	for i, result := range d.results {
		mark, fact := d.screen.paint(green, "✓"), result.fact
		if result.err != nil {
			failed++
			mark, fact = d.screen.paint(red, "✗"), d.screen.paint(red, "see above")
		}
		d.screen.line(plain, fmt.Sprintf(" %2d  %s  %s   %s", i+1, mark, pad(result.name, width), d.screen.paint(dim, fact)))
	}
	summary := fmt.Sprintf("%d passed, %d failed", len(d.results)-failed, failed)
	style := green
	if failed > 0 {
		style = red
	}
	d.screen.line(style, "\n"+summary)
	return failed
}
