package authpolicy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/verify"
)

// lastGood is the bundle that stays in force while its policy cannot be rendered. Its rules and issuers are those of its time; its keys are
// not: a key that is revoked must not stay trusted because somebody mistyped a header.
type lastGood struct {
	bundle  *bundle.Bundle
	sources []source // one for each of the bundle's issuers: where its keys are found now
	shown   certificate

	// What renew could not do.
	outdated  []string // the issuers that keep the keys they had
	withdrawn []string // the issuers whose keys are not shared any more
	failed    error
}

// recall reads back what is in force, and finds what its issuers refer to. It returns nil when there is no bundle, or none that a sidecar
// would take: then there is nothing to keep up to date.
func (r *Reconciler) recall(ctx context.Context, namespace string, foreign foreignKeys) (*lastGood, error) {
	if foreign.inForce == nil {
		return nil, nil
	}
	last := &lastGood{bundle: foreign.inForce}
	for i := range last.bundle.Issuers {
		issuer := &last.bundle.Issuers[i]
		var found source
		var err error
		if from, isForeign := sourceInBundle(issuer); isForeign {
			found = foreign.find(from)
		} else if found, err = r.retrace(ctx, namespace, issuer.KeysFrom); err != nil {
			return nil, err
		}
		last.sources = append(last.sources, found)
	}
	if shown := last.bundle.Certificate; shown != nil {
		var err error
		if last.shown, err = r.findCertificate(ctx, namespace, shown.Secret); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// retrace finds what a bundle's keys came from. Where the TokenIssuer is gone, its SigningKey may still be there and revoke keys.
func (r *Reconciler) retrace(ctx context.Context, namespace string, from *bundle.KeysFrom) (source, error) {
	if from == nil {
		return source{}, nil
	}
	if from.TokenIssuer != "" {
		found, err := r.resolve(ctx, namespace, v1alpha1.KeySource{TokenIssuerRef: &v1alpha1.ObjectRef{Name: from.TokenIssuer}})
		if err != nil || found.keys != nil {
			return found, err
		}
	}
	found, err := r.resolve(ctx, namespace, v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: from.SigningKey, Namespace: from.Namespace}})
	if found.from != nil {
		found.from.TokenIssuer = from.TokenIssuer // it may come back
	}
	return found, err
}

// renew renders the bundle with the keys and the token services of now; nil when there is nothing to render. With nothing new, it gives
// the same bytes.
func (l *lastGood) renew(now time.Time) *rendering {
	if l == nil {
		return nil
	}
	for i := range l.bundle.Issuers {
		issuer, found := &l.bundle.Issuers[i], l.sources[i]
		url := fmt.Sprintf("%q", issuer.URL)
		switch {
		case issuer.KeysFrom == nil && (issuer.Foreign == nil || found.keys == nil): // nothing else is known of them
		case found.withdrawn && withdraw(issuer, now) == nil:
			l.withdrawn = append(l.withdrawn, url)
		case found.keys == nil || renewIssuer(issuer, found, now) != nil:
			l.outdated = append(l.outdated, url)
		}
	}
	if l.shown.found != nil {
		l.bundle.Certificate = l.shown.found
	}
	encoded, err := l.bundle.Marshal()
	if err != nil {
		l.failed = err
		return nil
	}
	return &rendering{document: encoded, secret: l.bundle.HasSecrets(), certificate: l.bundle.Certificate}
}

// age says of when the keys are.
func (l *lastGood) age() string {
	if l == nil {
		return "as it is, for it cannot be read"
	}
	if l.failed != nil {
		return fmt.Sprintf("with the keys of its time, for it cannot take those of now: %v", l.failed)
	}
	text := "with the keys of now"
	if len(l.outdated) > 0 {
		text = "with the keys of its time for " + strings.Join(l.outdated, ", ") + ", whose own are not to be found"
	}
	if len(l.withdrawn) > 0 {
		text += ", and without any for " + strings.Join(l.withdrawn, ", ") + ", whose own are not permitted"
	}
	return text
}

func renewIssuer(issuer *bundle.Issuer, from source, now time.Time) error {
	keys := from.keys
	_, err := verify.New([]verify.Issuer{{
		URL: issuer.URL, Audiences: issuer.Audiences, Algorithms: issuer.Algorithms, TokenType: issuer.TokenType,
		ClockSkew: issuer.ClockSkew, Keys: keys,
	}})
	if err != nil { // none of the keys is for the algorithms that the policy takes: a sidecar would refuse the bundle, and trust the old keys
		if keys, err = ended(issuer, now); err != nil {
			return err
		}
	}
	encoded, err := keys.Marshal()
	if err != nil {
		return err
	}
	issuer.Keys, issuer.Symmetric, issuer.KeysFrom, issuer.Foreign = encoded, keys.Symmetric(), from.from, from.foreign
	if from.service != nil {
		issuer.TokenService = from.service
	}
	return nil
}

// withdraw makes a sidecar refuse every token of an issuer. A namespace that stops sharing its keys means it; so unlike keys that are lost or
// damaged, these do not stay as they were.
func withdraw(issuer *bundle.Issuer, now time.Time) error {
	keys, err := ended(issuer, now)
	if err != nil {
		return err
	}
	issuer.Keys, err = keys.Marshal()
	return err
}

// ended are an issuer's keys with an end that has passed, so that no token is valid by them.
func ended(issuer *bundle.Issuer, now time.Time) (*keyset.Set, error) {
	parse := keyset.Parse
	if issuer.Symmetric {
		parse = keyset.ParseSymmetric
	}
	set, err := parse(issuer.Keys)
	if err != nil {
		return nil, err
	}
	keys := set.Keys()
	for i, key := range keys {
		if end := key.NotAfter(); end.IsZero() || end.After(now) {
			keys[i] = key.Until(now.Truncate(time.Second))
		}
	}
	return keyset.NewSet(keys...)
}
