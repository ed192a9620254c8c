package tokenservice

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// maxRevocations bounds a set, so that its file, of which there are two while it is replaced, fits into the state directory; an entry takes
// about 100 bytes.
const maxRevocations = 50_000

// stateRoom bounds what the files of all sets take together. The webhook gives the directory 64 MiB, and a pod that takes more is evicted.
const stateRoom = 60 << 20

// keepEvery bounds how often a busy set is written. A crash in between loses nothing: the file says which number it ends with, and the
// token service sends what came after.
const keepEvery = time.Second

// pruneEvery is how often a quiet set forgets what has run out, and notes how far its file can be believed.
const pruneEvery = time.Minute

// keep writes the set to its file as it changes, and a last time when ctx ends. The file's time of modification is when the set was last confirmed.
func (s *stream) keep(ctx context.Context) {
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	for {
		select {
		case <-prune.C:
			s.set.Prune(s.now())
			s.date()
		case <-s.changed:
			s.save()
			select {
			case <-time.After(keepEvery):
			case <-ctx.Done():
			}
		case <-ctx.Done():
			select {
			case <-s.changed:
				s.save()
			default:
				s.date()
			}
			return
		}
	}
}

func (s *stream) save() {
	if err := s.dir.write(s.file, s.set.Encode()); err != nil {
		s.log.Warn("revocations not saved; a restart will ask the token service for them again", "error", err)
		return
	}
	s.date()
}

// date notes on the file when the set was last confirmed, so that a process that starts again knows how old its knowledge is. Where it cannot,
// the file seems older than it is: that errs on the safe side.
func (s *stream) date() {
	if confirmed := s.set.Confirmed(); s.whole.Load() && !confirmed.IsZero() {
		if err := os.Chtimes(filepath.Join(s.dir.path, s.file), confirmed, confirmed); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Debug("the age of saved revocations is not noted", "error", err)
		}
	}
}

// stateDir is the directory that all streams of a Follower write to.
type stateDir struct {
	path string
	mu   sync.Mutex // one file is replaced at a time
}

// write replaces a file in one step: a process that starts after a crash sees the old one or the new one. What a crash leaves of the new one is
// written over by the next. Where there is no room the old one stays: it is older, not wrong.
func (d *stateDir) write(name string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := filepath.Join(d.path, "next")
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	taken, err := d.size()
	if err != nil {
		return err
	}
	if taken+int64(len(data)) > stateRoom {
		return fmt.Errorf("the state directory has no room for %d bytes beside the %d that it holds", len(data), taken)
	}
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(d.path, name))
}

func (d *stateDir) size() (int64, error) {
	files, err := os.ReadDir(d.path)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}

// load reads a saved set. One that was never saved is fs.ErrNotExist.
func (d *stateDir) load(name string, now time.Time) (*revocation.Set, error) {
	path := filepath.Join(d.path, name)
	data, err := os.ReadFile(path) //nolint:gosec // the path is made from --state and a hash
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	set, err := revocation.Decode(data, maxRevocations, now)
	if err == nil && !info.ModTime().After(now) { // a clock that was set back tells nothing of the file's age
		set.Confirm(info.ModTime())
	}
	return set, err
}

// stateFile names the file of one issuer. Issuers are URLs, so their hash is used.
func stateFile(issuer string) string {
	sum := sha256.Sum256([]byte(issuer))
	return "revocations-" + hex.EncodeToString(sum[:8]) + ".json"
}

func checkWritable(dir string) error {
	file, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("the state directory must be writable: %w", err)
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}
