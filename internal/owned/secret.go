package owned

import (
	"context"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Secret returns owner's Secret as it is on the API server now, and nil when there is none. One that belongs to somebody else is
// a *NotOwnedError.
func (o Objects) Secret(ctx context.Context, owner client.Object, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: owner.GetNamespace(), Name: name}}
	found, err := o.ReadLive(ctx, owner, secret)
	if err != nil || !found {
		return nil, err
	}
	return secret, nil
}

// StoreSecret makes data the whole content of owner's Secret. Observed is what Secret returned before: when the Secret has changed, come
// or gone since, the error is a conflict (see IsConflict), and the answer is to observe and decide again. A Secret that nobody controls, which the
// owner has asked for by other means, becomes the owner's.
func (o Objects) StoreSecret(ctx context.Context, owner client.Object, observed *corev1.Secret, name string, kind corev1.SecretType, data map[string][]byte) (*corev1.Secret, error) {
	if observed == nil {
		return o.createSecret(ctx, owner, name, kind, data)
	}
	if reflect.DeepEqual(observed.Data, data) && observed.Labels[LabelManagedBy] == ManagedBy && metav1.IsControlledBy(observed, owner) {
		return observed, nil
	}
	secret := observed.DeepCopy()
	if metav1.GetControllerOf(secret) == nil {
		reference, err := o.ownerReference(owner)
		if err != nil {
			return nil, err
		}
		secret.OwnerReferences = append(secret.OwnerReferences, reference)
	}
	secret.Labels = with(secret.Labels, LabelManagedBy, ManagedBy)
	secret.Data = data
	if err := o.Client.Update(ctx, secret); err != nil { // conditional: secret carries the resourceVersion that was observed
		return nil, fmt.Errorf("update Secret %q: %w", name, err)
	}
	return secret, nil
}

func (o Objects) createSecret(ctx context.Context, owner client.Object, name string, kind corev1.SecretType, data map[string][]byte) (*corev1.Secret, error) {
	reference, err := o.ownerReference(owner)
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       owner.GetNamespace(),
			Name:            name,
			Labels:          map[string]string{LabelManagedBy: ManagedBy},
			OwnerReferences: []metav1.OwnerReference{reference},
		},
		Type: kind,
		Data: data,
	}
	if err := o.Client.Create(ctx, secret); err != nil {
		return nil, fmt.Errorf("create Secret %q: %w", name, err)
	}
	return secret, nil
}

// IsConflict reports whether a write failed because somebody else was faster. What they wrote comes through a watch and starts
// the next attempt.
func IsConflict(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
