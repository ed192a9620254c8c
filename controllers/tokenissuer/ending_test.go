package tokenissuer_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/test/controllertest"
)

func TestNothingIsSaidOfANamespaceThatIsBeingDeleted(t *testing.T) {
	b := newBench(t)
	controllertest.End(t, b.client, b.namespace)
	b.wire.Writes()
	b.reconcile()
	if got := len(b.events.Events); got != 0 {
		t.Errorf("got %d events, which the API server would refuse", got)
	}
	if got := len(b.issuer().Status.Conditions); got != 0 {
		t.Errorf("got %d conditions, want none about what nobody can mend", got)
	}
}
