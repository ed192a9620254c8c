package web

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/guard"
	"github.com/latchkey-dev/latchkey/test/npm"
)

func TestMain(m *testing.M) { os.Exit(guard.Main("web", m.Run)) }

// What node_modules holds that is run.
const (
	compiler = "node_modules/typescript/bin/tsc"
	runner   = "node_modules/vitest/vitest.mjs"
	linter   = "node_modules/publint/src/cli.js"
)

func TestTheBrowsersHalf(t *testing.T) {
	source := filepath.Join(controlplane.Root(), "web", "client")
	project := npm.Install(t, source)
	project.Copy(t, source, "README.md", "src", "test", "tsconfig.json", "tsconfig.build.json", "vitest.config.ts")
	run := func(t *testing.T, script string, args ...string) string {
		t.Helper()
		output, err := project.Node(t, script, args...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, output)
		}
		return output
	}

	t.Run("the package is sound TypeScript", func(t *testing.T) {
		run(t, compiler)
		run(t, compiler, "-p", "tsconfig.build.json")
	})
	t.Run("the package is one that npm can publish", func(t *testing.T) { t.Log(run(t, linter, "--strict")) })
	t.Run("its own tests pass", func(t *testing.T) { keep(t, "unit.txt", run(t, runner, "run", "--project", "unit")) })
}

// keep puts what a program has printed where `make test` shows it, since it hides what tests print that pass.
func keep(t *testing.T, name, text string) {
	t.Helper()
	if !strings.Contains(text, " passed") {
		t.Fatalf("no test has passed:\n%s", text)
	}
	dir := filepath.Join(controlplane.Root(), "test", "output", "web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
