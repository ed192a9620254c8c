package v1alpha1_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

func TestOfTwoPoliciesExactlyOnePrecedesTheOther(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	policy := func(name string, created time.Time) *v1alpha1.AuthPolicy {
		return &v1alpha1.AuthPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(created)}}
	}
	for _, test := range []struct {
		name         string
		first, other *v1alpha1.AuthPolicy
	}{
		{name: "the older", first: policy("b", noon), other: policy("a", noon.Add(time.Second))},
		{name: "of one age the first by name", first: policy("a", noon), other: policy("b", noon)},
		{name: "of one age in two places the first by name", first: policy("a", noon.In(time.FixedZone("east", 3600))), other: policy("b", noon)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, want := test.first.Precedes(test.other), true; got != want {
				t.Errorf("got %v, want %v", got, want)
			}
			if got, want := test.other.Precedes(test.first), false; got != want {
				t.Errorf("the other way round: got %v, want %v", got, want)
			}
			if got, want := test.first.Precedes(test.first), false; got != want {
				t.Errorf("itself: got %v, want %v", got, want)
			}
		})
	}
}
