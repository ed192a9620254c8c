// Package debian finds the programs that tests need beside Go, and installs Debian's package of one that is missing. It knows apt-get,
// and nothing of what the programs are for. A test that needs a program never passes without it.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Program returns the path of a program: of name, on the PATH or where a pattern such as "/usr/lib/postgresql/*/bin/initdb" finds it. If it
// is missing, Debian's package pkg is installed, which takes root; whoever is not root is told what to install, and the test fails.
func Program(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := program(t.Context(), name, pkg)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func program(ctx context.Context, name, pkg string) (string, error) {
	if path := find(name); path != "" {
		return path, nil
	}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("this test needs %s: install it (on Debian: `sudo apt-get install %s`), or run the test as root and it does so itself", name, pkg)
	}
	unlock, err := lock()
	if err != nil {
		return "", fmt.Errorf("this test needs %s, and installs it only on Debian: %w", name, err)
	}
	defer unlock()
	if path := find(name); path != "" { // another test has installed it meanwhile
		return path, nil
	}
	if err := install(ctx, pkg); err != nil {
		return "", fmt.Errorf("this test needs %s of Debian's package %s: %w", name, pkg, err)
	}
	if path := find(name); path != "" {
		return path, nil
	}
	return "", fmt.Errorf("this test needs %s, and Debian's package %s does not contain it", name, pkg)
}

// find returns the last match of a pattern: of several versions, the newest.
func find(name string) string {
	if !filepath.IsAbs(name) {
		path, _ := exec.LookPath(name) // not found is the empty path
		return path
	}
	matches, _ := filepath.Glob(name) // a malformed pattern finds nothing
	if len(matches) == 0 {
		return ""
	}
	return matches[len(matches)-1]
}

// lock holds off other processes: `go test` runs the tests of several packages at once, and apt-get fails where another is at work. It
// locks a directory that every Debian has, so nothing is left behind.
func lock() (unlock func(), err error) {
	dir, err := os.Open("/var/lib/dpkg")
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}

// install installs a package. The lists of a fresh machine are empty or old, so where that fails they are renewed once.
func install(ctx context.Context, pkg string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	if _, err := aptGet(ctx, "install", "--no-install-recommends", pkg); err == nil {
		return nil
	}
	if output, err := aptGet(ctx, "update"); err != nil {
		return fmt.Errorf("apt-get update: %w\n%s", err, output)
	}
	if output, err := aptGet(ctx, "install", "--no-install-recommends", pkg); err != nil {
		return fmt.Errorf("apt-get install %s: %w\n%s", pkg, err, output)
	}
	return nil
}

func aptGet(ctx context.Context, args ...string) ([]byte, error) {
	// Another apt-get on this machine, not of a test, is waited for.
	apt := exec.CommandContext(ctx, "apt-get", append([]string{"-y", "-q", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
	// In run level 1 a package starts no service: tests start what they need themselves.
	apt.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
	return apt.CombinedOutput()
}
