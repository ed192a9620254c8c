package filetree_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/internal/filetree"
)

// patience is how long a test waits for what must come. It is no measure of how fast it should come.
const patience = time.Minute

// outcome is one call of a watcher: a file's content, or an error.
type outcome struct {
	content string
	err     error
}

// watch returns the calls of a watcher of dir, which ends with the test.
func watch(t *testing.T, dir string) <-chan outcome {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(context.Background())
	calls := make(chan outcome)
	done := make(chan struct{})
	go func() {
		defer close(done)
		filetree.Watch(ctx, dir, func(tree filetree.Tree, err error) {
			select {
			case calls <- outcome{content: string(tree["file"]), err: err}:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		goleak.VerifyNone(t, leaks)
	})
	return calls
}

func expect(t *testing.T, calls <-chan outcome, want string) {
	t.Helper()
	select {
	case got := <-calls:
		if got.err != nil || got.content != want {
			t.Fatalf("got %q and error %v, want %q", got.content, got.err, want)
		}
	case <-time.After(patience):
		t.Fatalf("got no call, want one with %q", want)
	}
}

func expectError(t *testing.T, calls <-chan outcome, want string) {
	t.Helper()
	select {
	case got := <-calls:
		if got.err == nil || !strings.Contains(got.err.Error(), want) {
			t.Fatalf("got %q and error %v, want an error with %q", got.content, got.err, want)
		}
	case <-time.After(patience):
		t.Fatalf("got no call, want one with the error %q", want)
	}
}

func TestWatchSaysWhatIsThereAndEachChange(t *testing.T) {
	v := newVolume(t, map[string]string{"file": "one"})
	calls := watch(t, v.dir)
	expect(t, calls, "one")
	v.swap(map[string]string{"file": "two"})
	expect(t, calls, "two")
	v.swap(map[string]string{})
	expect(t, calls, "")
	v.swap(map[string]string{"file": "three"})
	expect(t, calls, "three")
}

func TestWatchIsSilentAboutAVersionThatIsTheSame(t *testing.T) {
	v := newVolume(t, map[string]string{"file": "one"})
	calls := watch(t, v.dir)
	expect(t, calls, "one")
	v.swap(map[string]string{"file": "one"})
	v.swap(map[string]string{"file": "one"})
	v.swap(map[string]string{"file": "two"})
	expect(t, calls, "two")
}

func TestWatchNoticesAPlainFile(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	calls := watch(t, dir)
	expect(t, calls, "")
	write(t, elsewhere, "file", "x")
	if err := os.Rename(filepath.Join(elsewhere, "file"), filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	expect(t, calls, "x")
}

func TestWatchFindsADirectoryThatComesLater(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "mount")
	calls := watch(t, dir)
	expectError(t, calls, "no such file or directory")

	v := newVolume(t, map[string]string{"file": "one"})
	if err := os.Rename(v.dir, dir); err != nil {
		t.Fatal(err)
	}
	expect(t, calls, "one")
	v.dir = dir
	v.swap(map[string]string{"file": "two"})
	expect(t, calls, "two")
}

func TestWatchSaysAnErrorOnceAndGoesOn(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "one")
	calls := watch(t, dir)
	expect(t, calls, "one")

	bad := filepath.Join(dir, "bad")
	if err := os.Mkdir(bad, 0o755); err != nil {
		t.Fatal(err)
	}
	expectError(t, calls, "bad: not a regular file")
	write(t, dir, "other", "still bad")
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	expect(t, calls, "one")
}

func TestWatchMissesNoVersionThatStays(t *testing.T) {
	v := newVolume(t, map[string]string{"file": "none"})
	calls := watch(t, v.dir)
	expect(t, calls, "none")
	for turn := range 50 {
		var last string
		for i := range 5 { // without a pause: all but the last may pass unseen
			last = fmt.Sprintf("%d.%d", turn, i)
			v.swap(map[string]string{"file": last})
		}
		for seen := ""; seen != last; {
			select {
			case got := <-calls:
				if seen = got.content; got.err != nil {
					t.Fatalf("got error %v, want a version", got.err)
				}
			case <-time.After(patience):
				t.Fatalf("got no call with %q, the last was with %q", last, seen)
			}
		}
	}
}
