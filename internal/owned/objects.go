package owned

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	// LabelManagedBy is on every object that this package writes, with the value ManagedBy. Caches select by it.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is Latchkey's value of LabelManagedBy, and the field owner of what it applies.
	ManagedBy = "latchkey"
)

// Objects reads and writes owned objects.
type Objects struct {
	// Client writes, and reads from a cache that may hold labelled objects only.
	Client client.Client
	// Live reads from the API server: it sees objects without the label as well.
	Live client.Reader
}

// NotOwnedError says that an object's name is taken by one that is not its owner's.
type NotOwnedError struct {
	Kind, Name string
	// Owner describes who controls the object; empty when nobody does.
	Owner string
}

func (e *NotOwnedError) Error() string {
	if e.Owner == "" {
		return fmt.Sprintf("%s %q is not this object's: nobody controls it; rename or remove it", e.Kind, e.Name)
	}
	return fmt.Sprintf("%s %q is not this object's: %s controls it", e.Kind, e.Name, e.Owner)
}

// Read fills object, whose name and namespace are set, with what the cluster has, and reports whether it has it. One that does not
// belong to owner is a *NotOwnedError.
func (o Objects) Read(ctx context.Context, owner, object client.Object) (bool, error) {
	err := o.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) { // perhaps it only lacks the label that the cache selects by
		return o.ReadLive(ctx, owner, object)
	}
	return o.judge(owner, object, err)
}

// ReadLive is Read from the API server, for decisions that a cache a moment behind would get wrong.
func (o Objects) ReadLive(ctx context.Context, owner, object client.Object) (bool, error) {
	return o.judge(owner, object, o.Live.Get(ctx, client.ObjectKeyFromObject(object), object))
}

func (o Objects) judge(owner, object client.Object, err error) (bool, error) {
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read %s: %w", o.describe(object), err)
	case !metav1.IsControlledBy(object, owner):
		return true, o.notOwned(object, owner)
	}
	return true, nil
}

// Remove deletes an object that Read has filled, unless it has changed since.
func (o Objects) Remove(ctx context.Context, object client.Object) error {
	uid, version := object.GetUID(), object.GetResourceVersion()
	err := o.Client.Delete(ctx, object, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %s: %w", o.describe(object), err)
	}
	return nil
}

func (o Objects) notOwned(object, owner client.Object) *NotOwnedError {
	refused := &NotOwnedError{Kind: o.kind(object), Name: object.GetName()}
	controller := metav1.GetControllerOf(object)
	if controller == nil {
		return refused
	}
	refused.Owner = fmt.Sprintf("%s %q", controller.Kind, controller.Name)
	if controller.Kind == o.kind(owner) && controller.Name == owner.GetName() {
		refused.Owner = "an earlier " + refused.Owner + ", and it goes away with that,"
	}
	return refused
}

func (o Objects) kind(object runtime.Object) string {
	gvk, err := apiutil.GVKForObject(object, o.Client.Scheme())
	if err != nil {
		return "object"
	}
	return gvk.Kind
}

func (o Objects) describe(object client.Object) string {
	return fmt.Sprintf("%s %q", o.kind(object), object.GetName())
}

// ownerReference makes owner the controller: the object is deleted with it.
func (o Objects) ownerReference(owner client.Object) (metav1.OwnerReference, error) {
	gvk, err := apiutil.GVKForObject(owner, o.Client.Scheme())
	if err != nil {
		return metav1.OwnerReference{}, err
	}
	return *metav1.NewControllerRef(owner, gvk), nil
}

// Refusal tells a failure that only a change of some object can mend from one that passes, be it with the namespace. It returns the condition reason for
// the former, and "" for the latter and for no error at all.
func Refusal(err error) string {
	var notOwned *NotOwnedError
	switch {
	case errors.As(err, &notOwned):
		return v1alpha1.ReasonNotOwned
	case apierrors.IsInvalid(err), apierrors.IsForbidden(err) && !ending(err):
		return v1alpha1.ReasonInvalid
	}
	return ""
}
