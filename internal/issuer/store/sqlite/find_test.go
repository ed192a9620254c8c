package sqlite_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/issuer/store"
	"github.com/latchkey-dev/latchkey/internal/issuer/store/sqlite"
)

func opened(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func created(t *testing.T, s *sqlite.Store, n store.Session) store.Session {
	t.Helper()
	n.ID = store.NewSessionID()
	if _, err := s.Create(t.Context(), n, store.Limit{Sessions: 1000}, store.Horizon{}); err != nil {
		t.Fatal(err)
	}
	return n
}

// Else one user whose session lies on a damaged page would take everybody along who refreshes at the same time, and again each second.
func TestASessionThatCannotBeReadCostsTheOthersNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.db")
	s := opened(t, path)
	damaged := created(t, s, store.Session{User: "alice", Data: strings.Repeat("P", 20_000)})
	var all []store.Session
	for range 60 {
		all = append(all, created(t, s, store.Session{User: "bob"}))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A page that is all data begins with the number of the next one. There is no page of this number.
	const page = 4096
	at := bytes.Index(file, bytes.Repeat([]byte("P"), page-4)) - 4
	if at < 0 || at%page != 0 {
		t.Fatalf("no page has data alone: got one at %d", at)
	}
	copy(file[at:], "\xff\xff\xff\xff")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}

	s = opened(t, path)
	if _, err := s.Find(t.Context(), damaged.ID); err == nil {
		t.Fatal("the session was found, though part of it is not there")
	}
	var readable []store.Session
	for _, each := range all { // the way to some leads past the damaged one
		if _, err := s.Find(t.Context(), each.ID); err == nil {
			readable = append(readable, each)
		}
	}
	if len(readable) < len(all)/2 {
		t.Fatalf("only %d of %d sessions can be read", len(readable), len(all))
	}
	var wg sync.WaitGroup
	for range 20 {
		for _, each := range append(readable, damaged) {
			wg.Go(func() {
				if _, err := s.Find(t.Context(), each.ID); (err != nil) != (each == damaged) {
					t.Errorf("session of %s: got %v", each.User, err)
				}
			})
		}
	}
	wg.Wait()
}

// Whoever is signed in may list their sessions as often as they like. Who has the next turn at a connection is drawn by lot: if look-ups took part in that, all of them
// together would be one among a hundred.
func TestLookUpsDoNotWaitBehindLists(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // with one, the processor is what all wait for
	s := opened(t, filepath.Join(t.TempDir(), "sessions.db"))
	var one store.Session
	for range 60 { // a list takes a while, so that they wait for connections
		one = created(t, s, store.Session{User: "alice"})
	}
	const listing, finds = 100, 50
	var enough atomic.Bool
	var lists atomic.Int64
	all := make(chan struct{})
	var wg sync.WaitGroup
	for range listing {
		wg.Go(func() {
			for done := false; !done; done = enough.Load() {
				if _, err := s.List(t.Context(), one.User); err != nil {
					t.Error(err)
				}
				if lists.Add(1) == listing {
					close(all)
				}
			}
		})
	}
	<-all
	before := lists.Load()
	for range finds {
		if _, err := s.Find(t.Context(), one.ID); err != nil {
			t.Error(err)
		}
	}
	passed := lists.Load() - before
	enough.Store(true)
	wg.Wait()
	if most := int64(finds * listing / 4); passed > most {
		t.Errorf("%d lists went past %d look-ups, want %d at most", passed, finds, most)
	}
}
