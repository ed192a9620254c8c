// Package npm gives tests the npm packages that a lock file pins, and Node.js to run them. It knows npm, and nothing of what the packages
// are for.
package npm

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/test/debian"
)

// Project is a directory with its packages installed.
type Project struct {
	// Dir is where scripts that import the packages belong. It is the test's own.
	Dir  string
	node string
	npm  string
	args []string
}

// Install installs what package.json and package-lock.json of a directory pin, into a directory that is removed after the test. No package
// runs scripts of its own. Node.js and npm are installed if they are missing: see package debian.
func Install(t testing.TB, from string) *Project {
	t.Helper()
	p := &Project{Dir: t.TempDir(), node: debian.Program(t, "node", "nodejs"), npm: debian.Program(t, "npm", "npm")}
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(`"resolved"`)) {
			t.Fatalf("%s names the registry that it was made with (resolved), which others may not reach: make it with omit-lockfile-registry-resolved, as %s/.npmrc says", name, from)
		}
		p.Write(t, name, string(text))
	}
	ci := exec.CommandContext(t.Context(), p.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	ci.Dir = p.Dir
	if output, err := ci.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, output)
	}
	version, err := exec.CommandContext(t.Context(), p.node, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(string(version), "v18.") { // Debian 12's, where globalThis.crypto has to be asked for
		p.args = []string{"--experimental-global-webcrypto"}
	}
	return p
}

// Write puts a file beside the packages.
func (p *Project) Write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Copy puts files and directories of another directory beside the packages. Those must not be there already.
func (p *Project) Copy(t testing.TB, from string, names ...string) {
	t.Helper()
	for _, name := range names {
		info, err := os.Stat(filepath.Join(from, name))
		if err == nil && info.IsDir() {
			err = os.CopyFS(filepath.Join(p.Dir, name), os.DirFS(filepath.Join(from, name)))
		} else if err == nil {
			var text []byte
			text, err = os.ReadFile(filepath.Join(from, name))
			p.Write(t, name, string(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Pack packs the directory as it would be published, and returns the archive's name in there. What it is made of must have been built.
func (p *Project) Pack(t testing.TB) string {
	t.Helper()
	pack := exec.CommandContext(t.Context(), p.npm, "pack", "--ignore-scripts", "--silent")
	pack.Dir = p.Dir
	name, err := pack.Output()
	if err != nil {
		t.Fatalf("npm pack: %v", err)
	}
	return strings.TrimSpace(string(name))
}

// Node runs a script of the directory, and returns what it prints, without white space around it.
func (p *Project) Node(t testing.TB, script string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), p.node, append(append(p.args[:len(p.args):len(p.args)], script), args...)...)
	command.Dir = p.Dir
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		err = errors.Join(err, errors.New(stderr.String()))
	}
	return strings.TrimSpace(string(output)), err
}
