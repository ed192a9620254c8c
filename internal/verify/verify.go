package verify

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// MaxClockSkew is the most that an issuer's clock and ours may be said to differ.
const MaxClockSkew = time.Minute

// Issuer is one issuer whose tokens are taken.
type Issuer struct {
	URL        string        // what iss must be, exactly
	Audiences  []string      // of which aud must name at least one
	Algorithms []string      // narrows those of the keys; empty leaves them as they are
	TokenType  string        // what typ must be, such as at+jwt; empty takes any, or none
	ClockSkew  time.Duration // 0 to MaxClockSkew
	Keys       *keyset.Set   // may be nil where Later is given: then the issuer has none yet
	// Later holds keys that were found after Keys were; it counts for a kid that Keys lack. It may be filled and changed at any time. Nil:
	// there will be none.
	Later *atomic.Pointer[keyset.Set]
}

// Verifier takes the tokens of some issuers. What it takes never changes; it is safe for use by many goroutines.
type Verifier struct {
	issuers map[string]*issuer // by URL
	headers headers
}

type issuer struct {
	Issuer
	algorithms []string // canonical; empty: those of the keys
	typ        string   // canonical
}

// Token is what a token says, once it has been taken.
type Token struct {
	Issuer    string    // iss
	Subject   string    // sub, or empty
	ID        string    // jti, or empty
	SessionID string    // sid, or empty
	KeyID     string    // of the key that signed it; empty where the issuer's only key has none
	IssuedAt  time.Time // iat, or zero
	Expires   time.Time // exp

	// KeyNotAfter is when the key ends, zero for never.
	KeyNotAfter time.Time
	// ValidUntil is the first instant at which Verify refuses the token: its exp plus the clock skew, or the end of the key.
	ValidUntil time.Time

	// Claims are all of them, as string, json.Number, bool, nil, []any and map[string]any. They are shared: do not change them.
	Claims map[string]any
}

// New returns a verifier for the issuers. The error lists all that is wrong with them, each with its path, as
// "issuers[1].clockSkew: must be between 0s and 1m0s".
func New(issuers []Issuer) (*Verifier, error) {
	v := &Verifier{issuers: make(map[string]*issuer, len(issuers))}
	var errs []error
	for i, given := range issuers {
		compiled, wrong := given.compile()
		for _, err := range wrong {
			errs = append(errs, fmt.Errorf("issuers[%d].%w", i, err))
		}
		if _, twice := v.issuers[given.URL]; twice {
			errs = append(errs, fmt.Errorf("issuers[%d].url: %q appears twice", i, given.URL))
		}
		v.issuers[given.URL] = compiled
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return v, nil
}

func (i Issuer) compile() (*issuer, []error) {
	var errs []error
	if i.URL == "" {
		errs = append(errs, errors.New("url: is missing"))
	}
	if len(i.Audiences) == 0 {
		errs = append(errs, errors.New("audiences: is missing: name at least one"))
	}
	for n, audience := range i.Audiences {
		if audience == "" {
			errs = append(errs, fmt.Errorf("audiences[%d]: is empty", n))
		}
	}
	if i.ClockSkew < 0 || i.ClockSkew > MaxClockSkew {
		errs = append(errs, fmt.Errorf("clockSkew: must be between 0s and %s", MaxClockSkew))
	}
	compiled := &issuer{Issuer: i, typ: canonicalType(i.TokenType)}
	for n, name := range i.Algorithms {
		algorithm, known := keyset.CanonicalAlgorithm(name)
		if !known {
			errs = append(errs, fmt.Errorf("algorithms[%d]: %q is not an algorithm for signatures that we take", n, name))
		}
		compiled.algorithms = append(compiled.algorithms, algorithm)
	}
	if i.Keys == nil {
		if i.Later == nil {
			errs = append(errs, errors.New("keys: is missing"))
		}
	} else if !slices.ContainsFunc(i.Keys.Keys(), func(k *keyset.Key) bool { return compiled.takes(k.Algorithm()) }) {
		errs = append(errs, errors.New("algorithms: none of the issuer's keys is for any of them"))
	}
	return compiled, errs
}

func (i *issuer) takes(algorithm string) bool {
	return len(i.algorithms) == 0 || slices.Contains(i.algorithms, algorithm)
}

// canonicalType returns a media type as typ should have it (RFC 7515 section 4.1.9): without "application/", in small letters.
func canonicalType(typ string) string {
	typ = strings.ToLower(typ)
	if short, cut := strings.CutPrefix(typ, "application/"); cut && !strings.Contains(short, "/") {
		return short
	}
	return typ
}

// Verify returns what the token says if one of the issuers signed it and it is good at now. The error is always a *Refusal.
//
// Two tokens with equal claims may differ in their signature, because everybody can make a second one from an ECDSA signature: never take
// the token itself for the identity of anything.
func (v *Verifier) Verify(token string, now time.Time) (*Token, error) {
	verified, r := v.verify(token, now)
	if r != nil {
		return nil, r
	}
	return verified, nil
}

// spaces are where envelopes are opened, one after the other. No claim is ever part of one.
var spaces = sync.Pool{New: func() any { return new([]byte) }}

func (v *Verifier) verify(token string, now time.Time) (*Token, *Refusal) {
	space := spaces.Get().(*[]byte) //nolint:forcetypeassert // it holds nothing else
	defer spaces.Put(space)
	var envelope Envelope
	if r := envelope.open(token, space, &v.headers); r != nil {
		return nil, r
	}
	untrusted, err := strictjson.ParseObject(envelope.Payload) // signature not checked: only chooses the issuer
	if err != nil {
		return nil, refuse(Malformed, "the payload is not a strict JSON object")
	}
	from, r := v.issuer(untrusted)
	if r != nil {
		return nil, r
	}
	if !from.takes(envelope.Algorithm) {
		return nil, refuse(Unsupported, "alg in the header is not taken from this issuer")
	}
	key, r := from.key(&envelope, now)
	if r != nil {
		r.Issuer = from.URL
		return nil, r
	}
	v.headers.keep(envelope.spelled, envelope.Header)
	if from.typ != "" && canonicalType(envelope.Type) != from.typ {
		return nil, refuse(WrongType, "typ in the header is not that of this issuer's access tokens")
	}
	return from.judge(untrusted, key, now)
}

func (v *Verifier) issuer(untrusted claims) (*issuer, *Refusal) {
	url, r := untrusted.text("iss")
	if r != nil {
		return nil, r
	}
	from, ok := v.issuers[url]
	if !ok {
		return nil, refuse(UnknownIssuer, "iss is missing, or not trusted here")
	}
	return from, nil
}

// key returns the key that signed the envelope. Those that were found later cannot take the place of any that the issuer was given with.
func (i *issuer) key(e *Envelope, now time.Time) (*keyset.Key, *Refusal) {
	var later *keyset.Set
	if i.Later != nil {
		later = i.Later.Load()
	}
	switch {
	case i.Keys == nil && later == nil:
		return nil, refuse(IssuerUnavailable, "the issuer's keys are not known yet")
	case i.Keys == nil:
		return e.check(later, now)
	}
	key, r := e.check(i.Keys, now)
	if r != nil && r.Reason == UnknownKey && later != nil && e.KeyID != "" {
		return e.check(later, now)
	}
	return key, r
}

// judge returns the token that the claims make. They are known to be the issuer's.
func (i *issuer) judge(c claims, key *keyset.Key, now time.Time) (*Token, *Refusal) {
	if _, bound := c["cnf"]; bound {
		return nil, refuse(BoundToken, "the token is bound to a key (cnf), so it does not count as a bearer token")
	}
	token := &Token{Issuer: i.URL, KeyID: key.ID(), KeyNotAfter: key.NotAfter(), Claims: c}
	var notBefore time.Time
	for _, field := range [...]struct {
		name string
		into *string
	}{{"sub", &token.Subject}, {"jti", &token.ID}, {"sid", &token.SessionID}} {
		var r *Refusal
		if *field.into, r = c.text(field.name); r != nil {
			return nil, r
		}
	}
	for _, field := range [...]struct {
		name string
		into *time.Time
	}{{"exp", &token.Expires}, {"nbf", &notBefore}, {"iat", &token.IssuedAt}} {
		var r *Refusal
		if *field.into, r = c.date(field.name); r != nil {
			return nil, r
		}
	}
	if r := c.audience(i.Audiences); r != nil {
		return nil, r
	}
	if token.Expires.IsZero() {
		return nil, refuse(Malformed, "exp is missing")
	}

	token.ValidUntil = token.Expires.Add(i.ClockSkew)
	if !now.Before(token.ValidUntil) {
		return nil, refuse(Expired, "the token has expired")
	}
	if latest := now.Add(i.ClockSkew); notBefore.After(latest) || token.IssuedAt.After(latest) {
		return nil, refuse(NotYetValid, "the token is from the future (nbf, iat)")
	}
	if !token.KeyNotAfter.IsZero() && token.KeyNotAfter.Before(token.ValidUntil) {
		token.ValidUntil = token.KeyNotAfter
	}
	return token, nil
}
