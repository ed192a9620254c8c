package web

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/test/controlplane"
	"github.com/latchkey-dev/latchkey/test/debian"
	"github.com/latchkey-dev/latchkey/test/guard"
	"github.com/latchkey-dev/latchkey/test/npm"
	"github.com/latchkey-dev/latchkey/test/snippet"
)

func TestMain(m *testing.M) { os.Exit(guard.Main("web", m.Run)) }

// What node_modules holds that is run.
const (
	compiler = "node_modules/typescript/bin/tsc"
	runner   = "node_modules/vitest/vitest.mjs"
	linter   = "node_modules/publint/src/cli.js"
	typing   = "node_modules/@arethetypeswrong/cli/dist/index.js"
)

func TestTheBrowsersHalf(t *testing.T) {
	t.Setenv("NO_COLOR", "1") // what is printed is kept in files
	source := filepath.Join(controlplane.Root(), "web", "client")
	project := npm.Install(t, source)
	project.Copy(t, source, "LICENSE", "README.md", "browser", "quickstart", "src", "test", "tsconfig.json", "tsconfig.build.json", "vitest.config.ts")
	run := func(t *testing.T, script string, args ...string) string {
		t.Helper()
		output, err := project.Node(t, script, args...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, output)
		}
		return output
	}

	t.Run("the package is sound TypeScript, and so is what stands in the documentation", func(t *testing.T) {
		run(t, compiler, "-p", "tsconfig.build.json")
		check(t, os.Mkdir(filepath.Join(project.Dir, "docs"), 0o700))
		for page, names := range map[string][]string{
			"docs/frontend.md":     {"plain.html", "plain.js", "react.tsx", "mobile.ts"},
			"web/client/README.md": {"usage.ts"},
		} {
			programs := snippet.Programs(t, page)
			for _, name := range names {
				if programs[name] == "" {
					t.Errorf("%s has no program %s", page, name)
				}
				project.Write(t, filepath.Join("docs", name), programs[name])
			}
		}
		run(t, compiler)
	})
	t.Run("the package is one that npm can publish, and that every tool can import", func(t *testing.T) {
		packed := project.Pack(t)
		t.Log(run(t, linter, "run", "--strict", "./"+packed))
		t.Log(run(t, typing, packed, "--profile", "esm-only", "--no-color", "--no-emoji"))
	})
	t.Run("its own tests pass", func(t *testing.T) { keep(t, "unit.txt", run(t, runner, "run", "--project", "unit")) })
	t.Run("the browser stays signed in", func(t *testing.T) {
		chromium := debian.Program(t, "chromium", "chromium")
		w := newWorld(t, project.Dir)
		t.Setenv("LATCHKEY_WORLD", w.forBrowser(chromium, "http://"+serve(t, "127.0.0.1:0", w.control(), nil)))
		t.Setenv("NODE_EXTRA_CA_CERTS", filepath.Join(w.path("ca"), "ca.crt")) // for a mobile app, which is no browser
		keep(t, "browser.txt", run(t, runner, "run", "--project", "browser"))
	})
	t.Run("the quickstart serves the package as it is published", func(t *testing.T) { servesAsPublished(t, project) })
	t.Run("the quickstart's page shows what goes on", func(t *testing.T) {
		chromium := debian.Program(t, "chromium", "chromium")
		q := startQuickstart(t)
		t.Setenv("LATCHKEY_WORLD", q.forBrowser(chromium, "http://"+serve(t, "127.0.0.1:0", q.control(), nil)))
		keep(t, "quickstart.txt", run(t, runner, "run", "--project", "quickstart"))
	})
}

// keep puts what a program has printed where `make test` shows it, since it hides what tests print that pass.
func keep(t *testing.T, name, text string) {
	t.Helper()
	if !strings.Contains(text, " passed") {
		t.Fatalf("no test has passed:\n%s", text)
	}
	check(t, os.WriteFile(filepath.Join(outputDir(t), name), []byte(text+"\n"), 0o644))
}
