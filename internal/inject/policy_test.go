package inject_test

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/inject"
)

func TestTheOldestPolicyThatSelectsAPodGovernsIt(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	everything := metav1.LabelSelector{}
	web := metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	other := metav1.LabelSelector{MatchLabels: map[string]string{"app": "other"}}
	nonsense := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Near"}}}
	policy := func(name string, age time.Duration, selector metav1.LabelSelector) v1alpha1.AuthPolicy {
		return v1alpha1.AuthPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(noon.Add(-age))},
			Spec:       v1alpha1.AuthPolicySpec{Selector: selector},
		}
	}
	deleted := policy("deleted", 3*time.Hour, web)
	deleted.DeletionTimestamp = &metav1.Time{Time: noon}

	cases := []struct {
		name     string
		policies []v1alpha1.AuthPolicy
		want     string // "" for none
	}{
		{name: "none at all"},
		{name: "none that selects it", policies: []v1alpha1.AuthPolicy{policy("a", 0, other)}},
		{name: "the only one", policies: []v1alpha1.AuthPolicy{policy("a", 0, other), policy("b", 0, web)}, want: "b"},
		{name: "an empty selector selects everything", policies: []v1alpha1.AuthPolicy{policy("a", 0, everything)}, want: "a"},
		{name: "the oldest, not the most specific", policies: []v1alpha1.AuthPolicy{policy("a", 0, web), policy("b", time.Hour, everything)}, want: "b"},
		{name: "by name among those of one age", policies: []v1alpha1.AuthPolicy{policy("b", 0, web), policy("a", 0, web)}, want: "a"},
		{name: "a broken selector stands in nobody's way", policies: []v1alpha1.AuthPolicy{policy("a", time.Hour, nonsense), policy("b", 0, web)}, want: "b"},
		{name: "one that is being deleted does not count", policies: []v1alpha1.AuthPolicy{deleted, policy("b", 0, web)}, want: "b"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // in either order
				got := ""
				if governing := inject.Governing(labels.Set{"app": "web"}, c.policies); governing != nil {
					got = governing.Name
				}
				if got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				slices.Reverse(c.policies)
			}
		})
	}
}
