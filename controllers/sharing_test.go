package controllers_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

// TestConsentTakesEffectAtOnce follows a shared key from consent by label to its end: every change reaches the policy by a watch.
func TestConsentTakesEffectAtOnce(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	home, away := controllertest.Namespace(t, c), controllertest.Namespace(t, c)
	key := &v1alpha1.SigningKey{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "k"}}
	key.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"friend": "yes"}}}
	policy := &v1alpha1.AuthPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: away, Name: "p"}, Spec: v1alpha1.AuthPolicySpec{
		Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "p"}},
		Ports:    []int32{8080},
		Issuers: []v1alpha1.PolicyIssuer{{
			URL: "https://issuer.example", Audiences: []string{"app"},
			Keys: v1alpha1.KeySource{SigningKeyRef: &v1alpha1.SigningKeyRef{Name: "k", Namespace: home}},
		}},
		Default: v1alpha1.DefaultAuthenticated,
	}}
	for _, object := range []client.Object{policy, key} {
		if err := c.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	accepted := func(reason string) {
		t.Helper()
		controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, func(policy *v1alpha1.AuthPolicy) bool {
			return has(policy.Status.Conditions, "Accepted", reason)
		})
	}
	inBundle := func(wanted func(keys string) bool) {
		t.Helper()
		configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: away, Name: "p-bundle"}}
		controllertest.Await(t, c, &corev1.ConfigMapList{}, configMap, func(configMap *corev1.ConfigMap) bool {
			parsed, err := bundle.Parse([]byte(configMap.Data[bundle.FileName]))
			return err == nil && wanted(string(parsed.Issuers[0].Keys))
		})
	}
	label := func(value string) {
		t.Helper()
		namespace := &corev1.Namespace{}
		if err := c.Get(ctx, client.ObjectKey{Name: away}, namespace); err != nil {
			t.Fatal(err)
		}
		edit(t, c, namespace, func() { namespace.Labels["friend"] = value })
	}
	trusted := func(keys string) bool { return !strings.Contains(keys, `"exp"`) }

	accepted("RefNotPermitted")
	label("yes")
	accepted("Accepted")
	inBundle(trusted)
	label("no")
	accepted("RefNotPermitted")
	inBundle(func(keys string) bool { return !trusted(keys) })
	edit(t, c, key, func() { key.Spec.AllowedNamespaces = v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll} })
	accepted("Accepted")

	// A revocation crosses namespaces as well.
	controllertest.Await(t, c, &v1alpha1.SigningKeyList{}, key, func(key *v1alpha1.SigningKey) bool { return key.Status.ActiveKeyID != "" })
	revoked := key.Status.ActiveKeyID
	edit(t, c, key, func() { key.Spec.RevokedKeyIDs = []string{revoked} })
	inBundle(func(keys string) bool { return !strings.Contains(keys, revoked) })

	// And so does the reference that a deletion waits for.
	controllertest.Await(t, c, &v1alpha1.SigningKeyList{}, key, func(key *v1alpha1.SigningKey) bool { return len(key.Finalizers) == 1 })
	if err := c.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	controllertest.Await(t, c, &v1alpha1.SigningKeyList{}, key, func(key *v1alpha1.SigningKey) bool {
		return meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionDeletable) != nil
	})
	edit(t, c, policy, func() { policy.Spec.Issuers[0].Keys.SigningKeyRef.Name = "another" })
	gone(t, c, key)
}

func TestAKeyGoesWithItsNamespace(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	namespace, policy := quickstart(t, c)
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, policy, policyReady)
	key := &v1alpha1.SigningKey{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q"}}
	controllertest.Await(t, c, &v1alpha1.SigningKeyList{}, key, func(key *v1alpha1.SigningKey) bool { return len(key.Finalizers) == 1 })
	if err := c.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	controllertest.Await(t, c, &v1alpha1.SigningKeyList{}, key, func(key *v1alpha1.SigningKey) bool {
		return meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionDeletable) != nil
	})
	if err := c.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		t.Fatal(err)
	}
	gone(t, c, key)
}

// gone waits until an object is not there any more.
func gone(t *testing.T, c client.WithWatch, key *v1alpha1.SigningKey) {
	t.Helper()
	watcher, err := c.Watch(ctx, &v1alpha1.SigningKeyList{}, client.InNamespace(key.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	overdue := time.After(time.Minute)
	for {
		if err := c.Get(ctx, client.ObjectKeyFromObject(key), &v1alpha1.SigningKey{}); apierrors.IsNotFound(err) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		select {
		case <-watcher.ResultChan():
		case <-overdue:
			t.Fatal("the SigningKey is still there")
		}
	}
}
