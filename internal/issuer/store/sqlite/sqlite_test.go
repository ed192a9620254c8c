package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/sqlite"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Suite{New: newDatabase}.Run(t)
}

func newDatabase(t *testing.T) storetest.Open {
	path := filepath.Join(t.TempDir(), "a name with ? and %41.db")
	return func() store.Store {
		s, err := sqlite.Open(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestKeepsItsFilesToItself(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlite.Open(t.Context(), filepath.Join(dir, "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err = s.Create(t.Context(), store.Session{ID: store.NewSessionID(), User: "alice"}, store.Limit{Sessions: 1}, store.Horizon{}); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 2 {
		t.Fatalf("files: got %v, want the database and its log", files)
	}
	for _, file := range files {
		info, fault := file.Info()
		if fault != nil {
			t.Fatal(fault)
		}
		if got, want := info.Mode().Perm(), os.FileMode(0o600); got != want {
			t.Errorf("mode of %s: got %o, want %o", file.Name(), got, want)
		}
	}
}

func TestACopyThatIsBroughtBackGivesNoNumberOutAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sessions.db")
	revoke := func(s *sqlite.Store) int64 {
		t.Helper()
		n := store.Session{ID: store.NewSessionID(), User: "alice", AccessUntil: time.Now().Add(time.Hour)}
		if _, err := s.Create(t.Context(), n, store.Limit{Sessions: 5}, store.Horizon{}); err != nil {
			t.Fatal(err)
		}
		if ok, err := s.End(t.Context(), n.ID, time.Now()); err != nil || !ok {
			t.Fatal(ok, err)
		}
		_, last, err := s.Stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	open := func() *sqlite.Store {
		s, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	revoke(s)
	s.Close()
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s = open()
	lost := revoke(s)
	s.Close()
	if err := os.WriteFile(path, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	if next := revoke(s); next <= lost {
		t.Errorf("got number %d after a copy was brought back, want more than %d, which followers have seen", next, lost)
	}
}

// Under a flood there is always somebody who reads, and the log would grow until the volume is full.
func TestALogThatHasGrownIsEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := store.Session{ID: store.NewSessionID(), User: "alice", Data: strings.Repeat("x", 70<<20)}
	if _, err = s.Create(t.Context(), n, store.Limit{Sessions: 5}, store.Horizon{}); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		log, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return log.Size()
	}
	before := size()
	if _, _, err := s.Prune(t.Context(), store.Horizon{}, time.Now(), 10); err != nil {
		t.Fatal(err)
	}
	if after := size(); before == 0 || after != 0 {
		t.Errorf("the log has %d bytes, and then %d, want it emptied", before, after)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, path string)
		want    string
	}{
		{"a file that is no database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not a database"},
		{"a database of a newer release", func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
				t.Fatal(err)
			}
		}, "written by a newer release"},
		{"a directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sessions.db")
			tc.prepare(t, path)
			s, err := sqlite.Open(t.Context(), path)
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if got := err.Error(); !strings.Contains(got, tc.want) || !strings.Contains(got, path) {
				t.Errorf("error: got %q, want one that names the file and says %q", got, tc.want)
			}
		})
	}
}

// Whoever is signed in may ask again and again, and would have those who refresh wait.
func TestWhoHasNothingToEndDoesNotWaitToWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	s := opened(t, path)
	alice := created(t, s, store.Session{User: "alice"})
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if ended, err := s.EndAll(t.Context(), "alice", alice.ID, time.Now()); err != nil || len(ended) > 0 {
		t.Errorf("while nobody can write: got %v, %v, want nothing ended", ended, err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
}
