package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

const module = "github.com/latchkey-dev/latchkey/"

// listed is one package as `go list` describes it.
type listed struct {
	ImportPath, Name, Dir string
	Standard              bool
	// Imports are direct and of the program itself; Deps are all that end up in the program.
	Imports, Deps                      []string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

// path is the import path within the module.
func (p listed) path() string { return strings.TrimPrefix(p.ImportPath, module) }

// packages lists the project's own packages, and a set of the standard library's.
func packages(t *testing.T) (own []listed, standard map[string]bool) {
	t.Helper()
	standard = map[string]bool{"C": true}
	for _, p := range list(t, "-deps", "./...") {
		if p.Standard {
			standard[p.ImportPath] = true
		}
	}
	return list(t, "./api/...", "./cmd/...", "./config/...", "./controllers/...", "./examples/...", "./images/...", "./internal/...", "./sidecar/...", "./test/..."), standard
}

func list(t *testing.T, patterns ...string) []listed {
	t.Helper()
	const fields = "-json=ImportPath,Name,Dir,Standard,Imports,Deps,GoFiles,TestGoFiles,XTestGoFiles"
	command := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"list", fields}, patterns)...)
	command.Dir = controlplane.Root()
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var found []listed
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
}

// within reports whether a package is one of these or lies below one of them.
func within(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return path == root || strings.HasPrefix(path, root+"/") })
}
