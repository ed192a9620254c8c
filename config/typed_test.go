package config_test

import (
	"testing"
	"time"

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

// Nil is the default, and zero is zero.
func TestWhatGoClientsLeaveOutGetsItsDefaultAndWhatTheySayIsKept(t *testing.T) {
	c, _ := controllertest.Client(t, cluster.Config)
	for _, test := range []struct {
		name         string
		said         *metav1.Duration
		skew, window time.Duration
	}{
		{name: "nothing is the default", skew: 5 * time.Second, window: 10 * time.Second},
		{name: "zero is zero", said: &metav1.Duration{}},
		{name: "a value is itself", said: &metav1.Duration{Duration: 3 * time.Second}, skew: 3 * time.Second, window: 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			named := metav1.ObjectMeta{Namespace: controllertest.Namespace(t, c), Name: "typed"}
			policy := &v1alpha1.AuthPolicy{ObjectMeta: named, Spec: v1alpha1.AuthPolicySpec{
				Ports: []int32{8080},
				Issuers: []v1alpha1.PolicyIssuer{{
					URL: "https://issuer.example", Audiences: []string{"app"}, ClockSkew: test.said,
					Keys: v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "key"}},
				}},
			}}
			if err := c.Create(t.Context(), policy); err != nil {
				t.Fatal(err)
			}
			if got, want := policy.Spec.Issuers[0].ClockSkew.Duration, test.skew; got != want {
				t.Errorf("clockSkew: got %s, want %s", got, want)
			}
			issuer := &v1alpha1.TokenIssuer{ObjectMeta: named, Spec: v1alpha1.TokenIssuerSpec{
				Issuer: "https://issuer.example", SigningKeyRef: v1alpha1.ObjectRef{Name: "key"},
				AccessToken:  v1alpha1.AccessToken{Audiences: []string{"app"}},
				RefreshToken: v1alpha1.RefreshToken{ReuseWindow: test.said},
				Login:        v1alpha1.Login{UsersSecretRef: &v1alpha1.ObjectRef{Name: "users"}},
			}}
			if err := c.Create(t.Context(), issuer); err != nil {
				t.Fatal(err)
			}
			if got, want := issuer.Spec.RefreshToken.ReuseWindow.Duration, test.window; got != want {
				t.Errorf("reuseWindow: got %s, want %s", got, want)
			}
		})
	}
}
