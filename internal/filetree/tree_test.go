package filetree_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/filetree"
)

func TestReadTakesWhatAKubeletPublished(t *testing.T) {
	v := newVolume(t, map[string]string{"bundle.json": "one", "gone": "x"})
	v.swap(map[string]string{"bundle.json": "two", "empty": ""})

	got, err := filetree.Read(v.dir)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	// The link of "gone" still hangs about in the directory, as it may for a moment with a real kubelet.
	want := filetree.Tree{"bundle.json": []byte("two"), "empty": []byte{}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got tree (-), want (+):\n%s", diff)
	}
}

func TestReadTakesAnEmptyVolume(t *testing.T) {
	v := newVolume(t, nil) // All sources are optional and none is there.
	got, err := filetree.Read(v.dir)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if diff := cmp.Diff(got, filetree.Tree{}); diff != "" {
		t.Errorf("got tree (-), want (+):\n%s", diff)
	}
}

func TestReadTakesAPlainDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tls.crt", "certificate")
	write(t, dir, "..hidden", "x")
	write(t, dir, ".dot", "y")
	if err := os.Symlink("tls.crt", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}

	got, err := filetree.Read(dir)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	want := filetree.Tree{"tls.crt": []byte("certificate"), "link": []byte("certificate"), ".dot": []byte("y")}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got tree (-), want (+):\n%s", diff)
	}
}

func TestReadRefuses(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "secret", "x")
	for _, tc := range []struct {
		name string
		make func(dir string) error
		want string // a part of the error, beside the directory
	}{
		{"a directory that is not there", os.Remove, "no such file or directory"},
		{"a directory in the directory", func(dir string) error { return os.Mkdir(filepath.Join(dir, "sub"), 0o755) }, "sub: not a regular file"},
		{"a named pipe, without waiting for a writer", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644) },
			"pipe: not a regular file"},
		{"a link that leads out", func(dir string) error {
			return os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "link"))
		},
			"link: path escapes from parent"},
		{"a link that leads nowhere", func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "link")) }, "link: no such file or directory"},
		{"a version that lies outside", func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "..data")) }, "path escapes from parent"},
		{"a version that is not there", func(dir string) error { return os.Symlink("..gone", filepath.Join(dir, "..data")) }, "no such file or directory"},
		{"a version that is not a link", func(dir string) error { return os.Mkdir(filepath.Join(dir, "..data"), 0o755) }, "invalid argument"},
		{"a file beyond all bounds", func(dir string) error { return os.Truncate(touch(dir, "huge"), filetree.MaxBytes+1) },
			"huge: more than 4194304 bytes in all files together"},
		{"files that are too large together", func(dir string) error {
			for _, name := range []string{"a", "b", "c"} {
				if err := os.Truncate(touch(dir, name), filetree.MaxBytes/2); err != nil {
					return err
				}
			}
			return nil
		}, "more than 4194304 bytes in all files together"},
		{"too many files", func(dir string) error {
			for i := range filetree.MaxFiles + 1 {
				touch(dir, fmt.Sprint(i))
			}
			return nil
		}, "more than 256 files"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "mount")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := tc.make(dir); err != nil {
				t.Fatal(err)
			}
			got, err := filetree.Read(dir)
			if got != nil {
				t.Errorf("got %d files beside the error", len(got))
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got error %v, want %q and the directory in it", err, tc.want)
			}
		})
	}
}

func TestReadTakesATreeOfTheLargestSize(t *testing.T) {
	dir := t.TempDir()
	for i := range filetree.MaxFiles - 1 {
		touch(dir, fmt.Sprint(i))
	}
	write(t, dir, "large", strings.Repeat("x", filetree.MaxBytes))
	got, err := filetree.Read(dir)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if len(got) != filetree.MaxFiles || len(got["large"]) != filetree.MaxBytes {
		t.Errorf("got %d files and %d bytes, want %d and %d", len(got), len(got["large"]), filetree.MaxFiles, filetree.MaxBytes)
	}
}

// TestReadNeverMixesTwoVersions reads while versions of several files are swapped without a pause, and looks for one in which the files
// disagree, or some are missing.
func TestReadNeverMixesTwoVersions(t *testing.T) {
	const files, swaps = 8, 300
	contents := func(version int) map[string]string {
		all := map[string]string{}
		for i := range files {
			all[fmt.Sprint("file", i)] = fmt.Sprint("version ", version)
		}
		return all
	}
	v := newVolume(t, contents(0))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range swaps {
			v.swap(contents(i + 1))
		}
	}()

	whole, seen := 0, map[string]bool{}
	for reading := true; reading; {
		select {
		case <-done:
			reading = false // The last read finds the last version in peace.
		default:
		}
		tree, err := filetree.Read(v.dir)
		if err != nil {
			if !strings.Contains(err.Error(), "times while it was read") {
				t.Errorf("got error %v, want none but that it was replaced too often", err)
			}
			continue
		}
		whole++
		if len(tree) != files {
			t.Fatalf("got %d files, want all %d of one version", len(tree), files)
		}
		for name, content := range tree {
			if !bytes.Equal(content, tree["file0"]) {
				t.Fatalf("got %q in %s and %q in file0, want one version", content, name, tree["file0"])
			}
		}
		seen[string(tree["file0"])] = true
	}
	if !seen[fmt.Sprint("version ", swaps)] {
		t.Errorf("got %d whole versions, want the last among them", whole)
	}
}

func TestHashIsTheSameEverywhereAndForEver(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   map[string][]byte
		want string
	}{
		{"nothing", nil, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"two files", map[string][]byte{"b": []byte("2"), "a": []byte("1")}, "63662dceceaac3caee9e43ac15aa0c4c567225916cd9af28900e1dd71438b73e"},
	} {
		if got := filetree.Hash(tc.in); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestHashTellsTreesApart(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', 0}), 0, 3, -1)
	tree := rapid.MapOfN(text, rapid.Map(text, func(s string) []byte { return []byte(s) }), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		one, other := tree.Draw(t, "one"), tree.Draw(t, "other")
		if got, want := filetree.Hash(one) == filetree.Hash(other), cmp.Equal(one, other); got != want {
			t.Fatalf("got equal hashes: %t, want %t", got, want)
		}
	})
}

func TestAVolumeHasTheHashOfItsSource(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		data := rapid.MapOfN(rapid.StringMatching(`[a-z][-._a-z0-9]{0,8}`), rapid.String(), 0, 5).Draw(rt, "data")
		tree, err := filetree.Read(newVolume(t, data).dir)
		if err != nil {
			rt.Fatalf("read: %v", err)
		}
		source := map[string][]byte{}
		for name, content := range data {
			source[name] = []byte(content)
		}
		if got, want := filetree.Hash(tree), filetree.Hash(source); got != want {
			rt.Fatalf("got %s, want %s", got, want)
		}
	})
}

func touch(dir, name string) string {
	path := filepath.Join(dir, name)
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	return path
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
