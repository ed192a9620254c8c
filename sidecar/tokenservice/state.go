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
	"time"

	"github.com/latchkey-dev/latchkey/internal/revocation"
)

// maxRevocations bounds a set, so that its file, of which there are two while it is replaced, fits into the pod's state directory (16 MiB;
// an entry takes about 100 bytes).
const maxRevocations = 50_000

// keepEvery bounds how often a busy set is written. A crash in between loses nothing: the file says which number it ends with, and the
// token service sends what came after.
const keepEvery = time.Second

// pruneEvery is how often a quiet set forgets what has run out.
const pruneEvery = time.Minute

// keep writes the set to its file as it changes, and a last time when ctx ends.
func (s *stream) keep(ctx context.Context) {
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	for {
		select {
		case <-prune.C:
			s.set.Prune(s.now())
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
			}
			return
		}
	}
}

func (s *stream) save() {
	if err := writeWhole(s.file, s.set.Encode()); err != nil {
		s.log.Warn("revocations not saved; a restart will ask the token service for them again", "error", err)
	}
}

// writeWhole replaces a file in one step: a process that starts after a crash sees the old one or the new one. What a crash leaves of the
// new one is written over by the next.
func writeWhole(path string, data []byte) error {
	next := path + ".next"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// loadSet reads a saved set; one that was never saved is empty.
func loadSet(path string, now time.Time) (*revocation.Set, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the path is made from --state and a hash
	if errors.Is(err, fs.ErrNotExist) {
		return revocation.NewSet(maxRevocations), nil
	}
	if err != nil {
		return nil, err
	}
	return revocation.Decode(data, maxRevocations, now)
}

// stateFile names the file of one issuer. Issuers are URLs, so their hash is used.
func stateFile(dir, issuer string) string {
	sum := sha256.Sum256([]byte(issuer))
	return filepath.Join(dir, "revocations-"+hex.EncodeToString(sum[:8])+".json")
}

func checkWritable(dir string) error {
	file, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("the state directory must be writable: %w", err)
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}
