package filetree

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long Watch waits after the first sign of a change in a plain directory, whose files are written one after the other. A version that
	// a kubelet publishes is whole, and read at once.
	settle = 20 * time.Millisecond
	// patrol is how often Watch looks on its own account: a notification may get lost, and not every file system sends them.
	patrol = 10 * time.Second
	// patrolBlind is how often it looks while it gets no notifications at all: the directory is not there yet, or the node has run out
	// of inotify instances, which all pods of one user share.
	patrolBlind = time.Second
)

// Watch calls changed with what dir holds as soon as it is watching, and again each time that dir holds something else, until ctx is done.
// When dir cannot be read it calls changed with the error, once for as long as the error stays the same. It blocks; calls come one after
// the other, from the goroutine that called Watch. Since the first call always comes, nothing is lost between a Read before and the Watch.
func Watch(ctx context.Context, dir string, changed func(Tree, error)) {
	var events <-chan fsnotify.Event
	var faults <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		defer release(watcher)
		events, faults = watcher.Events, watcher.Errors
	}

	look := time.NewTimer(0)
	defer look.Stop()
	settling := false
	last := ""
	for {
		wait := settle
		select {
		case <-ctx.Done():
			return
		case event := <-events:
			name := filepath.Base(event.Name)
			if name == dataLink {
				wait = 0
			} else if strings.HasPrefix(name, "..") {
				continue // what comes before and after that: Read leaves these names out
			}
		case <-faults: //nolint:errcheck // An error, such as an overflow of the queue, is a sign of change like any other.
		case <-look.C:
			settling = false

			// Before reading, so that no change falls between the two. Each time, because the directory itself may have been replaced.
			blind := watcher == nil || watcher.Add(dir) != nil
			tree, err := Read(dir)
			if ctx.Err() != nil {
				return
			}
			if outcome := outcomeOf(tree, err); outcome != last {
				last = outcome
				changed(tree, err)
			}
			look.Reset(patrol)
			if blind {
				look.Reset(patrolBlind)
			}
			continue
		}
		if !settling || wait == 0 {
			settling = true
			look.Reset(wait)
		}
	}
}

// outcomeOf tells one outcome of Read from another. A hash and an error text cannot be mistaken for each other.
func outcomeOf(tree Tree, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	return Hash(tree)
}
