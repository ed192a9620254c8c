package config_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

func TestAProgramInGoCanChooseAllPods(t *testing.T) {
	c, _ := controllertest.Client(t, cluster.Config)
	policy := &v1alpha1.AuthPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: controllertest.Namespace(t, c), Name: "all"},
		Spec: v1alpha1.AuthPolicySpec{
			Selector: metav1.LabelSelector{},
			Ports:    []int32{8080},
			Rules:    []v1alpha1.PolicyRule{{Access: v1alpha1.AccessAnonymous}},
		},
	}
	if err := c.Create(t.Context(), policy); err != nil {
		t.Errorf("got %v, want the policy taken", err)
	}
}
