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

// kinds by the names that kubectl takes.
var kinds = map[string]string{"signingkey": "SigningKey", "tokenissuer": "TokenIssuer"}

// patchSpec changes one of the quickstart's objects before the reader's eyes.
func (d *demo) patchSpec(ctx context.Context, kind, patch string) error {
	d.screen.command("kubectl -n quickstart patch " + kind + " quickstart --type merge -p '" + patch + "'")
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kinds[kind]))
	object.SetNamespace(quickstart)
	object.SetName(quickstart)
	if err := d.kube.Patch(ctx, object, kubeclient.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("patch %s: %w", kind, err)
	}
	d.screen.indented(kind + "." + v1alpha1.GroupVersion.Group + "/quickstart patched")
	d.screen.blank()
	return nil
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
    claims: [{claim: roles, anyOf: [auditor]}]`, "spec.rules[0].access"},
}

func wrongObjects(t *trial) {
	for _, w := range wrong {
		object := &unstructured.Unstructured{}
		t.must(yaml.UnmarshalStrict([]byte(w.yaml), &object.Object))
		refusal := t.tryToApply(w.yaml, object)
		if !strings.Contains(refusal, w.path) {
			t.fails(fmt.Errorf("the refusal does not name %s: %s", w.path, refusal))
		}
	}
	t.passes("the API server says which field, and why")
}

func podWithoutPolicy(t *trial) {
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
	t.must(yaml.UnmarshalStrict([]byte(text), pod))
	t.say("No AuthPolicy selects this pod:")
	refusal := t.tryToApply(text, pod)
	if !strings.Contains(refusal, "pod.inject.latchkey.dev") {
		t.fails(fmt.Errorf("it was not Latchkey's webhook that refused: %s", refusal))
	}
	t.passes("the webhook refuses it")
}

// tryToApply creates an object before the reader's eyes, and returns what the API server has to say against it.
func (t *trial) tryToApply(text string, object kubeclient.Object) (refusal string) {
	t.screen.command(applying(text))
	object.SetNamespace(quickstart)
	err := t.kube.Create(t.ctx, object)
	if err == nil {
		t.fails(errors.Join(fmt.Errorf("%s %s was let in", object.GetObjectKind().GroupVersionKind().Kind, object.GetName()), t.kube.Delete(t.ctx, object)))
	}
	t.screen.line(yellow, indent(wrap("Error from server: "+err.Error(), lineWidth))+"\n")
	return err.Error()
}

// applying is the command that applies an object. It can be copied with the margin before it, which would hide the end of a here-document
// from the shell.
func applying(text string) string {
	return "echo '\n" + text + "\n' | kubectl -n quickstart apply -f -"
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
