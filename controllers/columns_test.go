package controllers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

// columns is what `kubectl get` shows of an object, without -o wide: "Accepted=True Ready=False ...".
func columns(t *testing.T, path string, shown ...string) string {
	t.Helper()
	transport, err := rest.HTTPClientFor(controllertest.Config())
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(controllertest.Config().Host, "/")+"/apis/auth.latchkey.dev/v1alpha1/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	response, err := transport.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var table metav1.Table
	if err := json.NewDecoder(response.Body).Decode(&table); err != nil {
		t.Fatal(err)
	}
	var cells []string
	for i, column := range table.ColumnDefinitions {
		if column.Priority == 0 && slices.Contains(shown, column.Name) {
			cells = append(cells, fmt.Sprintf("%s=%v", column.Name, table.Rows[0].Cells[i]))
		}
	}
	return strings.Join(cells, " ")
}

func TestKubectlGetShowsWhatIsWrong(t *testing.T) {
	c, _ := controllertest.Client(t, controllertest.Config())
	startManager(t)
	namespace, policy := quickstart(t, c)
	younger := &v1alpha1.AuthPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "z"}, Spec: policy.Spec}
	lonely := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "lonely"}, Spec: v1alpha1.TokenIssuerSpec{
		Issuer: "https://lonely.example", SigningKeyRef: v1alpha1.ObjectRef{Name: "nowhere"},
		AccessToken: v1alpha1.AccessToken{Audiences: []string{"app"}}, Login: v1alpha1.Login{UsersSecretRef: &v1alpha1.ObjectRef{Name: "users"}},
	}}
	taken := &v1alpha1.SigningKey{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "taken"}}
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "taken-signing"}}
	for _, object := range []client.Object{younger, lonely, theirs, taken} {
		if err := c.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, younger, func(p *v1alpha1.AuthPolicy) bool {
		return has(p.Status.Conditions, "Accepted", "Conflicted") && has(p.Status.Conditions, "Ready", "Ready")
	})
	controllertest.Await(t, c, &v1alpha1.AuthPolicyList{}, younger, func(p *v1alpha1.AuthPolicy) bool { return has(p.Status.Conditions, "PodsProtected", "Protected") })
	controllertest.Await(t, c, &v1alpha1.TokenIssuerList{}, lonely, func(i *v1alpha1.TokenIssuer) bool { return len(i.Status.Conditions) > 0 })
	controllertest.Await(t, c, &v1alpha1.SigningKeyList{}, taken, func(k *v1alpha1.SigningKey) bool { return len(k.Status.Conditions) > 0 })
	for path, want := range map[string]string{
		"authpolicies/z":      "Accepted=False Accepted Reason=Conflicted Ready=True Ready Reason=Ready Pods=0 In Step=0 Behind=0 Missing=0",
		"tokenissuers/lonely": "Accepted=False Ready=False Reason=RefNotFound",
		"signingkeys/taken":   "Ready=False Reason=NotOwned",
	} {
		got := columns(t, "namespaces/"+namespace+"/"+path, "Accepted", "Accepted Reason", "Ready", "Ready Reason", "Reason", "Pods", "In Step", "Behind", "Missing")
		if got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func has(conditions []metav1.Condition, conditionType, reason string) bool {
	return slices.ContainsFunc(conditions, func(c metav1.Condition) bool { return c.Type == conditionType && c.Reason == reason })
}
