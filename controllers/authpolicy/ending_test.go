package authpolicy_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

func TestNothingIsSaidOfANamespaceThatIsBeingDeleted(t *testing.T) {
	b := newBench(t)
	b.applied("p", spec("a", v1alpha1.KeySource{Inline: document(t, keySet(t, "ES256"))}))
	controllertest.End(t, b.client, b.namespace)
	b.wire.Writes()
	b.reconcile("p")
	if told := b.told(); len(told) != 0 {
		t.Errorf("got events %v, which the API server would refuse", told)
	}
	if got := len(b.policy("p").Status.Conditions); got != 0 {
		t.Errorf("got %d conditions, want none about what nobody can mend", got)
	}
}
