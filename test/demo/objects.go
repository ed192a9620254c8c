package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kubeclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// patch changes the spec of one of the quickstart's objects before the reader's eyes.
func (d *demo) patch(ctx context.Context, kind, patch string) error {
	d.screen.command("kubectl -n quickstart patch " + kind + " quickstart --type merge -p '" + patch + "'")
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(map[string]string{"signingkey": "SigningKey", "tokenissuer": "TokenIssuer"}[kind]))
	object.SetNamespace(quickstart)
	object.SetName(quickstart)
	err := d.kube.Patch(ctx, object, kubeclient.RawPatch(types.MergePatchType, []byte(patch)))
	if err == nil {
		d.screen.indented(strings.ToLower(object.GroupVersionKind().GroupKind().String()) + "/quickstart patched")
		d.screen.blank()
	}
	return interrupted(ctx, err)
}

// wrong objects, and what the refusal must name.
var wrong = []struct{ yaml, path string }{
	{`apiVersion: auth.latchkey.dev/v1alpha1
kind: SigningKey
metadata: {name: wrong}
spec: {rotateEvery: 1h, publishLead: 2h}`, "spec.publishLead"},
	{`apiVersion: auth.latchkey.dev/v1alpha1
kind: AuthPolicy
metadata: {name: wrong}
spec:
  selector: {matchLabels: {app: shop}}
  ports: [8080]
  issuers:
  - {audiences: [shop], keys: {tokenIssuerRef: {name: shop}}}
  rules:
  - paths: [{prefix: /reports}]
    access: Anonymous
    claims: [{claim: roles, anyOf: [auditor]}]`, "spec.rules[0].claims"},
}

func (d *demo) wrongObjects(ctx context.Context) (string, error) {
	var all error
	for _, w := range wrong {
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(w.yaml), &object.Object); err != nil {
			return "", err
		}
		object.SetNamespace(quickstart)
		err := d.tryToApply(ctx, w.yaml, object)
		switch {
		case err == nil:
			all = errors.Join(all, fmt.Errorf("the %s was taken", object.GetKind()), d.kube.Delete(ctx, object))
		case !strings.Contains(err.Error(), w.path):
			all = errors.Join(all, fmt.Errorf("the refusal does not name %s: %w", w.path, err))
		}
	}
	return "the API server says which field, and why", all
}

func (d *demo) podWithoutPolicy(ctx context.Context) (string, error) {
	const text = `apiVersion: v1
kind: Pod
metadata: {name: forgotten, labels: {auth.latchkey.dev/inject: enabled}}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: app
    image: ghcr.io/latchkey-dev/quickstart-app:dev
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}`
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		return "", err
	}
	pod.Namespace = quickstart
	d.screen.note(indent("No AuthPolicy selects this pod:"))
	err := d.tryToApply(ctx, text, pod)
	switch {
	case err == nil:
		return "", errors.Join(errors.New("the pod was let in"), d.kube.Delete(ctx, pod))
	case !strings.Contains(err.Error(), "pod.inject.latchkey.dev"):
		return "", fmt.Errorf("it was not Latchkey's webhook that refused: %w", err)
	}
	return "the webhook refuses it", nil
}

// tryToApply creates an object before the reader's eyes, and shows what the API server has to say against it.
func (d *demo) tryToApply(ctx context.Context, text string, object kubeclient.Object) error {
	d.screen.command("kubectl -n quickstart apply -f - <<'EOF'\n" + text + "\nEOF")
	err := interrupted(ctx, d.kube.Create(ctx, object))
	if err != nil {
		d.screen.line(yellow, indent(wrap("Error from server: "+err.Error(), lineWidth))+"\n")
	}
	return err
}

// wrap breaks a long message between words.
func wrap(text string, width int) string {
	var out strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			out.WriteString("\n  ")
			column = 2
		default:
			out.WriteString(" ")
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}
