package controllertest

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patience is how long Await waits. It is never reached unless something is broken.
const patience = time.Minute

// Await follows object, a named object of the list's kind, until it is as the test wants it.
func Await[T client.Object](t testing.TB, c client.WithWatch, list client.ObjectList, object T, wanted func(T) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	watcher, err := c.Watch(ctx, list, client.InNamespace(object.GetNamespace()),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", object.GetName())})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	key := client.ObjectKeyFromObject(object)
	if c.Get(ctx, key, object) == nil && wanted(object) {
		return
	}
	for event := range watcher.ResultChan() {
		if seen, ok := event.Object.(T); ok && event.Type != watch.Deleted && wanted(seen) {
			if err := c.Get(ctx, key, object); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	_ = c.Get(context.Background(), key, object)
	t.Fatalf("%s did not become what was wanted within %s: %+v", key, patience, object)
}
