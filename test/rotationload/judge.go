package rotationload

import (
	"net/http"
	"time"
)

// skew is the clock skew that the AuthPolicy leaves at its default.
const skew = 5 * time.Second

// token is what a client knows of its token.
type token struct {
	text string
	kid  string
	exp  time.Time
	got  time.Time // when the client had it
}

// use is one request with a token.
type use struct {
	token          *token
	sidecar        int
	sent, answered time.Time
	status         int // 0: there was no answer
	detail         string
}

// verdict is what a use comes to.
type verdict int

const (
	// accepted: the token was good, and was taken.
	accepted verdict = iota
	// refused: the token's time was over, and it was refused.
	refused
	// onTheEdge: its time was over while the request was under way.
	onTheEdge
	// validRefused, and those below, are faults.
	validRefused
	lateAccepted
	broken
)

// fault reports whether a verdict is against the product.
func (v verdict) fault() bool { return v >= validRefused }

func (v verdict) String() string {
	return [...]string{"accepted", "refused", "on the edge", "a valid token refused", "a token accepted after its time", "no proper answer"}[v]
}

// ends are those of the keys that have stopped signing, by kid.
type ends map[string]time.Time

// goodUntil is the first instant at which a token is bad, and whether that is because of its key.
func (e ends) goodUntil(t *token) (until time.Time, byKey bool) {
	until = t.exp.Add(skew)
	if end, ended := e[t.kid]; ended && end.Before(until) {
		return end, true
	}
	return until, false
}

// judge follows the rule in the package comment.
func (e ends) judge(u use) verdict {
	until, _ := e.goodUntil(u.token)
	good, bad := u.answered.Before(until), !u.sent.Before(until)
	switch {
	case u.status != http.StatusOK && u.status != http.StatusUnauthorized:
		return broken
	case good && u.status == http.StatusOK:
		return accepted
	case good:
		return validRefused
	case bad && u.status == http.StatusUnauthorized:
		return refused
	case bad:
		return lateAccepted
	default:
		return onTheEdge
	}
}
