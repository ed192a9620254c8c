package signingkey_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

func TestNothingIsSaidOfANamespaceThatIsBeingDeleted(t *testing.T) {
	b := newBench(t, v1alpha1.SigningKeySpec{})
	controllertest.End(t, b.client, b.key.Namespace)
	b.wire.Writes()
	b.reconcile()
	if told := b.told(); len(told) != 0 {
		t.Errorf("got events %v, which the API server would refuse", told)
	}
	if got := len(b.object().Status.Conditions); got != 0 {
		t.Errorf("got %d conditions, want none about what nobody can mend", got)
	}
}
