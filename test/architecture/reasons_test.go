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
)

// Callers, alerts and logs rely on reasons, so each that the data plane has is on the page of the kind.
func TestEveryReasonIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/api/authpolicy.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, dir := range []string{"sidecar", "sidecar/gate", "sidecar/tokenservice", "internal/policy", "internal/verify"} {
		for _, reason := range reasons(t, filepath.Join("../..", dir)) {
			found++
			if !strings.Contains(string(page), "`"+reason+"`") {
				t.Errorf("docs/api/authpolicy.md does not say what %q of %s means", reason, dir)
			}
		}
	}
	if found < 30 {
		t.Errorf("got %d reasons, want all of them: are they declared in another way now?", found)
	}
}

// reasons are the values of a package's constants of a type Reason, or whose names begin so.
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
				isReason := kind != nil && kind.Name == "Reason" || strings.HasPrefix(strings.ToLower(name.Name), "reason")
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
