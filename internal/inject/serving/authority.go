package serving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/latchkey-dev/latchkey/internal/pki"
)

// AuthoritySecret is the name of the Secret, in the manager's own namespace, that holds the certificate authority.
const AuthoritySecret = "latchkey-ca"

// What the Secret holds beside the authority itself, which is in tls.crt and tls.key.
const (
	nextCert, nextKey = "next.crt", "next.key" // of the authority that will follow it
	previousCert      = "previous.crt"         // of the one that it has followed
)

// handover is how long the next authority is trusted before it issues anything: time for every bundle in the cluster, and for every manager, to learn of it.
const handover = 30 * 24 * time.Hour

// Authority returns the certificate authority that all replicas of the manager share, and makes it where there is none. When two thirds of its life
// are over it makes the next one, which is trusted from then on, takes over a month later, and lets the first be trusted to its end. One that cannot be
// read is never replaced: what it has issued is trusted all over the cluster, and only a person can tell whether that shall end.
func Authority(ctx context.Context, c client.Client, namespace string, now time.Time) (*pki.CA, error) {
	key := client.ObjectKey{Namespace: namespace, Name: AuthoritySecret}
	for {
		var secret corev1.Secret
		err := c.Get(ctx, key, &secret)
		if apierrors.IsNotFound(err) {
			err = create(ctx, c, key, now)
			if err == nil || apierrors.IsAlreadyExists(err) { // made by another replica just now: theirs counts
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		ca, changed, err := renew(secret.Data, now)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: Secret %s: %w; restore it from a backup, or delete it to have a new one made", key, err)
		}
		if !changed {
			return ca, nil
		}
		if err := c.Update(ctx, &secret); err != nil && !apierrors.IsConflict(err) { // another replica was faster: theirs counts
			return nil, fmt.Errorf("certificate authority: renew it: %w", err)
		}
	}
}

// renew does what is due with the content of the Secret, and returns the authority.
func renew(data map[string][]byte, now time.Time) (ca *pki.CA, changed bool, err error) {
	if ca, err = pki.ParseCA(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey]); err != nil {
		return nil, false, err
	}
	var beside []*pki.CA
	if data[nextCert] == nil && ca.NeedsRenewal(now) {
		next, err := pki.NewCA(now)
		if err != nil {
			return nil, false, err
		}
		data[nextCert], data[nextKey] = next.CertPEM(), next.KeyPEM()
		return ca, true, nil
	}
	if data[nextCert] != nil {
		next, err := pki.ParseCA(data[nextCert], data[nextKey])
		if err != nil {
			return nil, false, fmt.Errorf("the next one: %w", err)
		}
		if ca.Ended(now) || now.After(next.Since().Add(handover)) {
			data[previousCert], data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey] = ca.CertPEM(), next.CertPEM(), next.KeyPEM()
			delete(data, nextCert)
			delete(data, nextKey)
			return next, true, nil
		}
		beside = append(beside, next)
	}
	if data[previousCert] != nil {
		previous, err := pki.ParseTrusted(data[previousCert])
		if err != nil {
			return nil, false, fmt.Errorf("the previous one: %w", err)
		}
		if !previous.Ended(now) {
			beside = append(beside, previous)
		}
	}
	return ca.Trusting(beside...), false, nil
}

// lookAgain is how often a manager looks whether its authority has changed. Where there are two, they look at different times, so that they do not start anew
// together.
const lookAgain = time.Hour

// ErrChanged ends a manager whose authority is not the one that it began with. Everything that it has written names that one, and is looked at when it
// starts: it happens three times in ten years, and when somebody replaces the Secret.
var ErrChanged = errors.New("the certificate authority has changed: starting anew brings it to everybody")

// Watch returns ErrChanged when the authority changes or a renewal is due, and nil when ctx ends.
func Watch(ctx context.Context, c client.Client, namespace string, ca *pki.CA, clock clock.WithTicker) error {
	ticker := clock.NewTicker(lookAgain/2 + rand.N(lookAgain)) //nolint:gosec // it is no secret
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
		now, err := Authority(ctx, c, namespace, clock.Now())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // the API server is away, or the Secret is damaged: this process goes on with what it has
			log.FromContext(ctx).Error(err, "cannot look whether the certificate authority has changed")
		case !bytes.Equal(now.CertPEM(), ca.CertPEM()) || !bytes.Equal(now.TrustPEM(), ca.TrustPEM()):
			return ErrChanged
		}
	}
}

func create(ctx context.Context, c client.Client, key client.ObjectKey, now time.Time) error {
	ca, err := pki.NewCA(now)
	if err != nil {
		return err
	}
	return c.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name,
			Labels: map[string]string{"app.kubernetes.io/name": "latchkey", "app.kubernetes.io/component": "manager"},
		},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: ca.CertPEM(), corev1.TLSPrivateKeyKey: ca.KeyPEM()},
	})
}
