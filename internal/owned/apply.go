package owned

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// annotationRendered names the rendering that was applied. It is part of the rendering, so that a field which is no longer
// rendered is noticed although nothing else differs.
const annotationRendered = "auth.latchkey.dev/rendered"

// Apply brings the rendered object about by server-side apply, unless the cluster has it already. Into is an empty object of the type;
// it gets what the cluster has afterwards.
func (o Objects) Apply(ctx context.Context, owner, into client.Object, rendered runtime.ApplyConfiguration) error {
	wanted, err := o.complete(owner, rendered)
	if err != nil {
		return err
	}
	into.SetName(wanted.GetName())
	into.SetNamespace(wanted.GetNamespace())
	found, err := o.Read(ctx, owner, into)
	if err != nil {
		return err
	}
	options := []client.ApplyOption{client.FieldOwner(ManagedBy)}
	if found {
		observed, err := runtime.DefaultUnstructuredConverter.ToUnstructured(into)
		if err != nil {
			return fmt.Errorf("compare %s: %w", o.describe(into), err)
		}
		observed["apiVersion"], observed["kind"] = wanted.GetAPIVersion(), wanted.GetKind() // a typed object does not carry them
		if covers(observed, wanted.Object) {
			return nil
		}
		// It is ours: take back what others changed, as long as it is still the same object.
		wanted.SetUID(into.GetUID())
		options = append(options, client.ForceOwnership)
	}
	if err := o.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), options...); err != nil {
		return fmt.Errorf("apply %s: %w", o.describe(into), err)
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(wanted.Object, into)
}

// complete adds what every owned object carries.
func (o Objects) complete(owner client.Object, rendered runtime.ApplyConfiguration) (*unstructured.Unstructured, error) {
	encoded, err := json.Marshal(rendered)
	if err != nil {
		return nil, fmt.Errorf("encode what was rendered: %w", err)
	}
	wanted := &unstructured.Unstructured{}
	if err = utiljson.Unmarshal(encoded, &wanted.Object); err != nil { // whole numbers become int64, as in what is observed
		return nil, fmt.Errorf("encode what was rendered: %w", err)
	}
	reference, err := o.ownerReference(owner)
	if err != nil {
		return nil, err
	}
	wanted.SetNamespace(owner.GetNamespace())
	wanted.SetOwnerReferences(append(wanted.GetOwnerReferences(), reference))
	wanted.SetLabels(with(wanted.GetLabels(), LabelManagedBy, ManagedBy))
	digest := sha256.Sum256(encoded)
	wanted.SetAnnotations(with(wanted.GetAnnotations(), annotationRendered, hex.EncodeToString(digest[:8])))
	return wanted, nil
}

func with(values map[string]string, key, value string) map[string]string {
	if values == nil {
		values = map[string]string{}
	}
	values[key] = value
	return values
}
