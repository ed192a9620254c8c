package architecture

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEachPackageSaysOnceWhatItIs(t *testing.T) {
	own, _ := packages(t)
	for _, p := range own {
		name, files := p.Name, slices.Concat(p.GoFiles, p.TestGoFiles)
		if len(files) == 0 { // only tests from outside: they are the package
			files = p.XTestGoFiles
		} else if commented := comments(t, p.Dir, p.XTestGoFiles); len(commented) > 0 {
			t.Errorf("%s: %v speak for the package that they only test", p.path(), commented)
		}
		commented := comments(t, p.Dir, files)
		if len(commented) != 1 {
			t.Errorf("%s: got package comments in %d files, want 1: what it owns, and what it must not know", p.path(), len(commented))
		}
		want := "Package " + strings.TrimSuffix(name, "_test")
		if name == "main" {
			want = "Command "
		}
		for file, comment := range commented {
			if !strings.HasPrefix(comment, want) {
				t.Errorf("%s/%s: the package comment must begin with %q", p.path(), file, want)
			}
		}
	}
}

// comments returns the package comments of files, by file.
func comments(t *testing.T, dir string, files []string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc != nil {
			found[file] = parsed.Doc.Text()
		}
	}
	return found
}
