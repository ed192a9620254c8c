package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/explain"
	"github.com/latchkey-dev/latchkey/sidecar/gate"
)

// Callers, alerts and logs rely on reasons, so each that the data plane has is explained, once: to whoever asks `latchkey explain`, and in the same
// words on the page of the kind.
func TestEveryReasonIsExplained(t *testing.T) {
	found := map[string]bool{"invalid_token": true} // what callers are told of others, and never a sidecar's own
	for _, dir := range []string{"sidecar", "sidecar/gate", "sidecar/tokenservice", "internal/policy", "internal/verify"} {
		for _, reason := range reasons(t, filepath.Join("../..", dir)) {
			if _, known := explain.ReasonOf(reason); !known && !found[reason] {
				t.Errorf("internal/explain does not say what %q of %s means", reason, dir)
			}
			found[reason] = true
		}
	}
	if len(found) < 30 {
		t.Errorf("got %d reasons, want all of them: are they declared in another way now?", len(found))
	}
	for _, reason := range explain.Reasons() {
		if !found[reason.Code] {
			t.Errorf("internal/explain says what %q means, which no sidecar says", reason.Code)
		}
		if got, want := reason.Told, string(gate.Reason(reason.Code).Told()); got != want && (got != "" || want != reason.Code) {
			t.Errorf("internal/explain says that callers are told %q of %q, and the sidecar tells them %q", got, reason.Code, want)
		}
	}
	page, err := os.ReadFile("../../docs/api/authpolicy.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), explain.Table()) {
		t.Errorf("docs/api/authpolicy.md must have this table:\n%s", explain.Table())
	}
}

// reasons are the values of a package's constants of a type Reason or ClaimReason, or whose names begin so.
func reasons(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || len(spec.Values) != len(spec.Names) {
				return true
			}
			kind, _ := spec.Type.(*ast.Ident)
			for i, name := range spec.Names {
				literal, isLiteral := spec.Values[i].(*ast.BasicLit)
				isReason := kind != nil && (kind.Name == "Reason" || kind.Name == "ClaimReason") || strings.HasPrefix(strings.ToLower(name.Name), "reason")
				if !isLiteral || !isReason || literal.Kind != token.STRING {
					continue
				}
				reason, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, reason)
			}
			return true
		})
	}
	return found
}
