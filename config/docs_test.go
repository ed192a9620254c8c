package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/policyspec"
	"github.com/latchkey-dev/latchkey/test/controllertest"
)

// Readers copy what stands between the fences. So each block is taken by the API server, with fields that it knows and nothing else.
func TestDocumentedExamplesAreTaken(t *testing.T) {
	pages, err := filepath.Glob("../docs/api/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("got %d pages of docs/api and error %v, want some", len(pages), err)
	}
	for _, page := range append(pages, "../README.md", "../docs/interop.md") {
		t.Run(filepath.Base(page), func(t *testing.T) {
			content, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			blocks := yamlBlocks(string(content))
			if len(blocks) == 0 {
				t.Fatal("got no example, want at least one")
			}
			for _, b := range blocks {
				namespace := controllertest.Namespace(t, api)
				for _, document := range strings.Split(b.text, "\n---\n") {
					if err := take(t, namespace, document); err != nil {
						t.Errorf("the block at line %d: %v\n%s", b.line, err, document)
					}
				}
			}
		})
	}
}

// take is kubectl create --dry-run=server --validate=strict, and reads what the API server takes for mere text as Latchkey will.
func take(t *testing.T, namespace, document string) error {
	var object unstructured.Unstructured
	if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
		return err
	}
	object.SetNamespace(namespace)
	if err := api.Create(t.Context(), &object, client.DryRunAll, client.FieldValidation("Strict")); err != nil {
		return err
	}
	if object.GetKind() == "AuthPolicy" {
		var policy v1alpha1.AuthPolicy
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &policy); err != nil {
			return err
		}
		if err := errors.Join(policyspec.Check(policy.Spec)...); err != nil {
			return err
		}
	}
	if file, ok, _ := unstructured.NestedString(object.Object, "stringData", users.File); ok {
		if _, err := users.Parse([]byte(file)); err != nil {
			return err
		}
	}
	issuers, _, _ := unstructured.NestedSlice(object.Object, "spec", "issuers")
	for _, issuer := range issuers {
		if inline, ok, _ := unstructured.NestedString(issuer.(map[string]any), "keys", "inline"); ok {
			if _, err := keyset.Parse([]byte(inline)); err != nil {
				return err
			}
		}
	}
	return nil
}

type block struct {
	line int // of the fence that opens it
	text string
}

// yamlBlocks are what stands between ```yaml and ``` in Markdown.
func yamlBlocks(markdown string) []block {
	var blocks []block
	var open *block
	for i, line := range strings.Split(markdown, "\n") {
		switch {
		case open != nil && strings.TrimSpace(line) == "```":
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.TrimSpace(line) == "```yaml":
			open = &block{line: i + 1}
		}
	}
	return blocks
}
