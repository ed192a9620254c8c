// Package snippet reads programs out of pages of documentation, so that tests run what people copy.
package snippet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

// Programs are the code blocks of a page that begin with a comment that names them, as "// sign.mjs: ...", by those names. The page is one of
// the repository's, such as "docs/interop.md".
func Programs(t testing.TB, page string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(controlplane.Root(), filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for i, block := range strings.Split(string(text), "\n```") {
		_, program, _ := strings.Cut(block, "\n")
		first, _, _ := strings.Cut(program, ": ")
		_, name, named := strings.Cut(first, " ")
		if i%2 == 1 && named && !strings.Contains(name, " ") {
			found[name] = program + "\n"
		}
	}
	return found
}
