package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAProgramIsFoundOnThePathAndByItsPattern(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"13", "15"} {
		if err := os.MkdirAll(filepath.Join(dir, version, "bin"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, version, "bin", "initdb"), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := Program(t, filepath.Join(dir, "*", "bin", "initdb"), "postgresql"), filepath.Join(dir, "15", "bin", "initdb"); got != want {
		t.Errorf("got %s, want the newest, %s", got, want)
	}
	if got := Program(t, "sh", "dash"); filepath.Base(got) != "sh" {
		t.Errorf("got %s, want a path of sh", got)
	}
}

func TestAProgramThatCannotBeHadIsAnErrorThatNamesItAndItsPackage(t *testing.T) {
	path, err := program(t.Context(), "latchkey-no-such-program", "latchkey-no-such-package")
	if err == nil {
		t.Fatalf("got %s, want an error", path)
	}
	for _, want := range []string{"latchkey-no-such-program", "latchkey-no-such-package"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %s in it", err, want)
		}
	}
}
