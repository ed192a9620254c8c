package filetree_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// volume writes a directory as a kubelet does (pkg/volume/util/atomic_writer.go): a new directory for each version, then a symbolic link
// that is renamed over the last one, then the links that pods see, then the old version goes.
type volume struct {
	t        testing.TB
	dir      string
	versions int
}

func newVolume(t testing.TB, files map[string]string) *volume {
	v := &volume{t: t, dir: t.TempDir()}
	v.swap(files)
	return v
}

func (v *volume) swap(files map[string]string) {
	v.t.Helper()
	v.versions++
	version := fmt.Sprintf("..2026_01_01_00_00_00.%d", v.versions)
	v.must(os.Mkdir(filepath.Join(v.dir, version), 0o755))
	for name, content := range files {
		v.must(os.WriteFile(filepath.Join(v.dir, version, name), []byte(content), 0o644))
	}

	link := filepath.Join(v.dir, "..data")
	old, _ := os.Readlink(link)
	v.must(os.Symlink(version, link+"_tmp"))
	v.must(os.Rename(link+"_tmp", link))
	for name := range files {
		seen := filepath.Join(v.dir, name)
		if _, err := os.Lstat(seen); err != nil {
			v.must(os.Symlink(filepath.Join("..data", name), seen))
		}
	}
	if old != "" {
		v.must(os.RemoveAll(filepath.Join(v.dir, old)))
	}
}

// must does not end the test: swaps also run beside it, in goroutines of their own.
func (v *volume) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Error(err)
	}
}
