// Package gate decides about one request: whose it is, whether it may pass, and by which headers the app then knows the caller. It knows
// bundles, tokens and HTTP headers; it knows no sockets, files or clocks. A Gate is one compiled bundle and everything that was learnt under
// it, so a change of keys or rules leaves nothing behind.
package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/crossorigin"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/revocation"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// Gate is a compiled bundle. It never changes, except that it remembers the tokens it has verified; it may be used by any number of
// goroutines.
type Gate struct {
	program  *policy.Program
	verifier *verify.Verifier                // nil without issuers: then no token is ever valid
	claims   map[string]*policy.ClaimProgram // by the issuer's URL
	revoked  map[string]*revocation.Set
	refetch  map[string]Refetcher
	bound    time.Duration // how old what is known of revocations may be; 0: of any age
	known    *cache
	headers  []string // canonical names of the identity headers
	sources  *credential.Sources
	origins  *crossorigin.Policy
	keyIDs   []string
}

// A Refetcher asks an issuer for its keys once more.
type Refetcher interface {
	// Found holds what that has brought.
	Found() *atomic.Pointer[keyset.Set]
	// Refetch reports whether it is worth looking there now. It may wait for a moment, but not longer than ctx.
	Refetch(ctx context.Context) bool
}

// New compiles a bundle. Revoked holds the revocations of each issuer that has a token service, and refetch is whom to ask about each foreign
// issuer, both by the issuer's URL. The error lists everything that is wrong, each with its path in the bundle.
func New(b *bundle.Bundle, revoked map[string]*revocation.Set, refetch map[string]Refetcher) (*Gate, error) {
	var wrong []error
	program, err := policy.Compile(b.Policy)
	if err != nil {
		wrong = append(wrong, fmt.Errorf("policy: %w", err))
	}

	var sources *credential.Sources
	if program != nil {
		if sources, err = credential.Compile(b.TokenSources, program.MayCarryToken); err != nil {
			wrong = append(wrong, err)
		} else if b.Session != nil && b.Session.ServerRendered != nil {
			sources = sources.WithSession()
		}
	}
	origins, err := crossorigin.Compile(b.CORS)
	if err != nil {
		wrong = append(wrong, err)
	}

	var issuers []verify.Issuer
	var keyIDs []string
	claims := make(map[string]*policy.ClaimProgram, len(b.Issuers))
	for i, issuer := range b.Issuers {
		keys, refused := keysOf(issuer)
		if refused != nil {
			wrong = append(wrong, fmt.Errorf("issuers[%d].keys: %w", i, refused))
			continue
		}
		if issuer.TokenService != nil && revoked[issuer.URL] == nil {
			wrong = append(wrong, fmt.Errorf("issuers[%d].tokenService: its revocations are not followed", i))
		}
		if claims[issuer.URL], err = policy.CompileClaims(issuer.Claims); err != nil {
			wrong = append(wrong, fmt.Errorf("issuers[%d]: %w", i, err))
		}
		var later *atomic.Pointer[keyset.Set]
		if from := refetch[issuer.URL]; from != nil {
			later = from.Found()
		}
		if keys != nil {
			for _, key := range keys.Keys() {
				keyIDs = append(keyIDs, key.ID())
			}
		}
		issuers = append(issuers, verify.Issuer{
			URL: issuer.URL, Audiences: issuer.Audiences, Algorithms: issuer.Algorithms, TokenType: issuer.TokenType,
			ClockSkew: issuer.ClockSkew, Keys: keys, Later: later,
		})
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}

	gate := &Gate{
		program: program, claims: claims, revoked: revoked, refetch: refetch, bound: b.RevocationBound, known: newCache(cachedTokens, cachedBytes),
		sources: sources, origins: origins,
	}
	for _, header := range program.Headers() {
		gate.headers = append(gate.headers, http.CanonicalHeaderKey(header.Name))
	}
	if len(issuers) > 0 {
		if gate.verifier, err = verify.New(issuers); err != nil {
			return nil, err
		}
	}
	slices.Sort(keyIDs)
	gate.keyIDs = slices.Compact(keyIDs)
	return gate, nil
}

// keysOf returns an issuer's keys; nil for a foreign issuer whose keys nobody could fetch yet.
func keysOf(issuer bundle.Issuer) (*keyset.Set, error) {
	switch {
	case issuer.Symmetric:
		return keyset.ParseSymmetric(issuer.Keys)
	case issuer.Foreign != nil && issuer.Keys == nil:
		return nil, nil
	}
	return keyset.Parse(issuer.Keys)
}

// KeyIDs are the ids of all keys that tokens are verified with, sorted. Keys that have ended since the bundle was rendered are among them.
func (g *Gate) KeyIDs() []string { return slices.Clone(g.keyIDs) }

// Origins says what pages of other origins may do.
func (g *Gate) Origins() *crossorigin.Policy { return g.origins }
