package revocation_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/latchkey-dev/latchkey/internal/revocation"
)

var start = time.Unix(1_800_000_000, 0).UTC()

func hash(sid string) string { return revocation.SessionHash("https://auth.example.com", sid) }

func entry(number int64, sid string, until time.Time) revocation.Entry {
	return revocation.Entry{Number: number, Hash: hash(sid), Until: until}
}

func apply(t interface {
	Helper()
	Fatal(...any)
}, s *revocation.Set, now time.Time, entries ...revocation.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := s.Apply(e, now); err != nil {
			t.Fatal(err)
		}
	}
}

// Sidecars and token services of different releases must agree on it: printf 'https://auth.example.com\0abc' | sha256sum.
func TestTheHashIsStable(t *testing.T) {
	const want = "5IPpLMnJFMgnXhhP0pKeFYbrshsFt8vNDvVfsDeLMtc"
	if got := hash("abc"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if hash("abc") == revocation.SessionHash("https://auth.example.co", "mabc") {
		t.Error("issuer and sid run into each other")
	}
}

func TestSet(t *testing.T) {
	minute := start.Add(time.Minute)
	for _, tc := range []struct {
		name  string
		steps func(*revocation.Set)
		want  map[string]bool // by sid, for tokens that expire in half a minute
		len   int
		at    revocation.Position
	}{
		{"revokes nothing at first", func(*revocation.Set) {}, map[string]bool{"a": false}, 0, revocation.Position{}},
		{"revokes what it was told", func(s *revocation.Set) {
			apply(t, s, start, entry(1, "a", minute), entry(5, "b", minute))
		}, map[string]bool{"a": true, "b": true, "c": false}, 2, revocation.Position{Number: 5}},
		{"forgets what has run out", func(s *revocation.Set) {
			apply(t, s, start, entry(1, "a", minute), entry(2, "b", minute.Add(time.Second)))
			if got, want := s.Prune(minute), 1; got != want {
				t.Errorf("pruned: got %d, want %d", got, want)
			}
		}, map[string]bool{"a": false, "b": true}, 1, revocation.Position{Number: 2}},
		{"forgets by itself while it takes in more", func(s *revocation.Set) {
			apply(t, s, start, entry(1, "a", minute))
			apply(t, s, minute, entry(2, "b", minute.Add(time.Minute)))
		}, map[string]bool{"a": false, "b": true}, 1, revocation.Position{Number: 2}},
		{"takes nothing twice", func(s *revocation.Set) {
			apply(t, s, start, entry(2, "a", minute), entry(2, "b", minute), entry(1, "c", minute))
		}, map[string]bool{"a": true, "b": false, "c": false}, 1, revocation.Position{Number: 2}},
		{"keeps everything when the stream is another", func(s *revocation.Set) {
			apply(t, s, start, entry(7, "a", minute))
			s.Reset("another")
			apply(t, s, start, entry(1, "b", minute))
		}, map[string]bool{"a": true, "b": true}, 2, revocation.Position{Stream: "another", Number: 1}},
		{"keeps the later end when a session is revoked again", func(s *revocation.Set) {
			apply(t, s, start, entry(1, "a", minute.Add(time.Minute)))
			s.Reset("another")
			apply(t, s, start, entry(1, "a", minute))
			s.Prune(minute)
		}, map[string]bool{"a": true}, 1, revocation.Position{Stream: "another", Number: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := revocation.NewSet(10)
			tc.steps(s)
			got := map[string]bool{}
			for sid := range tc.want {
				got[sid] = s.Revoked(hash(sid), start.Add(30*time.Second))
			}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("revoked (-got +want):\n%s", diff)
			}
			if got, want := s.Len(), tc.len; got != want {
				t.Errorf("len: got %d, want %d", got, want)
			}
			if got, want := s.Position(), tc.at; got != want {
				t.Errorf("position: got %+v, want %+v", got, want)
			}
		})
	}
}

// The property that everything hangs on: whatever is applied, forgotten, reset, written and read, and whatever the clock said meanwhile, a token of
// a revoked session is never accepted while it could be valid. A full set may revoke more than it was told, never less.
func TestNoRevokedTokenIsEverAccepted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		set := revocation.NewSet(limit)
		ends := map[string]time.Time{} // by sid: the expiry of its last access token
		now := start
		number := int64(0)
		overflow := false
		t.Repeat(map[string]func(*rapid.T){
			"revoke": func(t *rapid.T) {
				sid := rapid.StringMatching(`[a-h]`).Draw(t, "sid")
				expires := now.Add(time.Duration(rapid.IntRange(0, 600).Draw(t, "lifetime")) * time.Second)
				if expires.Before(ends[sid]) {
					return // a session is revoked until its last token
				}
				number++
				apply(t, set, now, entry(number, sid, expires.Add(revocation.Leeway)))
				ends[sid] = expires
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "seconds")) * time.Second)
			},
			"prune": func(*rapid.T) { set.Prune(now) },
			"prune by a clock that is ahead for a moment": func(t *rapid.T) {
				set.Prune(now.Add(time.Duration(rapid.IntRange(1, 86400).Draw(t, "ahead")) * time.Second))
			},
			"reset": func(t *rapid.T) { set.Reset(rapid.StringMatching(`[a-z]{4}`).Draw(t, "stream")); number = 0 },
			"write and read": func(t *rapid.T) {
				read, err := revocation.Decode(set.Encode(), limit, now)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := read.Position(), set.Position(); got != want {
					t.Fatalf("position: got %+v, want %+v", got, want)
				}
				set = read
			},
			"": func(t *rapid.T) {
				living := 0
				for sid, expires := range ends {
					if now.Before(expires.Add(revocation.Leeway)) {
						living++
						if !set.Revoked(hash(sid), expires) {
							t.Fatalf("a token of %s is accepted", sid)
						}
					}
				}
				overflow = overflow || living > limit
				if set.Len() > limit {
					t.Fatalf("holds %d entries, at most %d are allowed", set.Len(), limit)
				}
				if !overflow && set.Revoked(hash("stranger"), now.Add(time.Hour)) {
					t.Fatal("revoked a session that nobody ended")
				}
			},
		})
	})
}

func TestReadersSeeEveryEntryWhileOthersAreForgotten(t *testing.T) {
	const limit, total = 100, 5000
	set := revocation.NewSet(limit)
	expires := start.Add(time.Minute)
	var applied sync.Map
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				applied.Range(func(sid, _ any) bool {
					if !set.Revoked(hash(sid.(string)), expires) {
						t.Errorf("a token of %s is accepted", sid)
					}
					return true
				})
			}
		})
	}
	for i := range total {
		sid := fmt.Sprint(i % 1000)
		apply(t, set, start, entry(int64(i+1), sid, expires.Add(revocation.Leeway)))
		applied.Store(sid, nil)
	}
	close(done)
	wg.Wait()
}

func TestApplyRefusesWhatItCouldNotEnforce(t *testing.T) {
	good := entry(1, "a", start)
	for _, tc := range []struct {
		name   string
		change func(*revocation.Entry)
		want   string
	}{
		{"no number", func(e *revocation.Entry) { e.Number = 0 }, "revocation 0: number 0: must be at least 1"},
		{"a short hash", func(e *revocation.Entry) { e.Hash = "abc" }, "revocation 1: hash: must be a SHA-256 in base64url"},
		{"a hash in another alphabet", func(e *revocation.Entry) { e.Hash = strings.Repeat("+", 43) }, "revocation 1: hash: must be a SHA-256 in base64url"},
		{"a hash with a line end", func(e *revocation.Entry) { e.Hash = e.Hash[:42] + "\n" }, "revocation 1: hash: must be a SHA-256 in base64url"},
		{"no end", func(e *revocation.Entry) { e.Until = time.Time{} }, "revocation 1: until: must be a time after 1970"},
		{"half a second", func(e *revocation.Entry) { e.Until = e.Until.Add(time.Second / 2) }, "revocation 1: until: must be whole seconds"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := good
			tc.change(&e)
			set := revocation.NewSet(0)
			err := set.Apply(e, start)
			if err == nil {
				t.Fatal("accepted")
			}
			if got := err.Error(); got != tc.want {
				t.Errorf("error: got %q, want %q", got, tc.want)
			}
			if set.Len() != 0 || set.Position() != (revocation.Position{}) {
				t.Error("the set has changed")
			}
			if revocation.WriteRevoke(io.Discard, e) == nil {
				t.Error("written to the stream")
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	set := revocation.NewSet(0)
	set.Reset("stream")
	apply(t, set, start, entry(1, "a", start.Add(time.Minute)))
	good := string(set.Encode())
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "", "ends too early"},
		{"half of it", good[:len(good)/2], "ends too early"},
		{"something behind", good + "{}", "something follows the value"},
		{"another version", strings.Replace(good, `"version":1`, `"version":2`, 1), "version: must be 1, not 2"},
		{"a member that is there twice", strings.Replace(good, `"number":1`, `"number":1,"number":9`, 1), "number: given twice"},
		{"a member in another case", strings.Replace(good, `"entries"`, `"Entries"`, 1), "Entries: unknown field"},
		{"an unknown member", strings.Replace(good, `"version":1`, `"version":1,"x":1`, 1), "unknown field"},
		{"a negative number", strings.Replace(good, `"number":1`, `"number":-1`, 1), "number: must not be negative"},
		{"a revocation that says more than we know", strings.Replace(good, `"hash"`, `"kind":"sub","hash"`, 1), "unknown field"},
		{"a stream that is none", strings.Replace(good, `"stream"`, `"a&b"`, 2), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.in == good {
				t.Fatal("nothing was changed")
			}
			if _, err := revocation.Decode([]byte(tc.in), 0, start); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestWhatIsWrittenToTheStreamIsRead(t *testing.T) {
	want := []revocation.Event{
		{Kind: revocation.EventReset, Stream: "b6f0"},
		{Kind: revocation.EventRevoke, Entry: entry(3, "a", start)},
		{Kind: revocation.EventRevoke, Entry: entry(9, "b", start.Add(time.Hour))},
		{Kind: revocation.EventReady, Stream: "b6f0", Number: 9},
		{Kind: revocation.EventHeartbeat},
		{Kind: revocation.EventHeartbeat},
		{Kind: revocation.EventRevoke, Entry: entry(10, "c", start)},
	}
	var wire bytes.Buffer
	for _, event := range want {
		var err error
		switch event.Kind {
		case revocation.EventReset:
			err = revocation.WriteReset(&wire, event.Stream)
		case revocation.EventRevoke:
			err = revocation.WriteRevoke(&wire, event.Entry)
		case revocation.EventReady:
			err = revocation.WriteReady(&wire, revocation.Position{Stream: event.Stream, Number: event.Number})
		case revocation.EventHeartbeat:
			err = revocation.WriteHeartbeat(&wire)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const begin = "event: reset\ndata: {\"stream\":\"b6f0\"}\n\nid: 3\nevent: revoke\ndata: {\"hash\":\""
	if !strings.HasPrefix(wire.String(), begin) {
		t.Errorf("wire: got %q, want %q…", wire.String()[:len(begin)], begin)
	}

	whole := wire.Bytes()
	reader := revocation.NewReader(oneByte{bytes.NewReader(whole)})
	var got []revocation.Event
	for {
		event, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}

	// Cut anywhere, it yields whole events and then an end or an error, and never half an entry.
	for cut := range whole {
		reader := revocation.NewReader(bytes.NewReader(whole[:cut]))
		for i := 0; ; i++ {
			event, err := reader.Next()
			if err != nil {
				break
			}
			if diff := cmp.Diff(event, want[i]); diff != "" {
				t.Fatalf("cut at %d, event %d (-got +want):\n%s", cut, i, diff)
			}
		}
	}
}

// oneByte gives one byte at a time, as a slow network may.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func TestReaderRefuses(t *testing.T) {
	good := `data: {"hash":"` + hash("a") + `","until":1800000000}` + "\n\n"
	for _, tc := range []struct{ name, in, want string }{
		{"an unknown event", "event: grant\ndata: {}\n\n", `unknown event "grant"`},
		{"an event without a name", "id: 1\n" + good, `unknown event ""`},
		{"an unknown field", "retry: 5\n\n", `unknown field "retry"`},
		{"a revocation without a number", "event: revoke\n" + good, `id "": must be a number`},
		{"a revocation with a number that overflows", "id: 99999999999999999999\nevent: revoke\n" + good, "must be a number"},
		{"a revocation without data", "id: 1\nevent: revoke\n\n", "revoke: ends too early"},
		{"an unknown member", "id: 1\nevent: revoke\n" + strings.Replace(good, `{`, `{"x":1,`, 1), "unknown field"},
		{"a reset without a stream", "event: reset\ndata: {}\n\n", "stream: must have 1 to 64 characters"},
		{"a stream that is no word", "event: reset\ndata: {\"stream\":\"a/b\"}\n\n", "stream: must be letters, digits, - and _"},
		{"a negative number", "event: ready\ndata: {\"stream\":\"a\",\"number\":-1}\n\n", "number: must not be negative"},
		{"an endless line", "data: " + strings.Repeat("x", 5000), "a line is longer than 1024 bytes"},
		{"an end inside an event", "id: 1\nevent: revoke\n", "unexpected EOF"},
		{"an end inside a line", "id: 1", "unexpected EOF"},
		{"a web page", "<html>\n\n", `unknown field "<html>"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			event, err := revocation.NewReader(strings.NewReader(tc.in)).Next()
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %+v, %v, want %q", event, err, tc.want)
			}
		})
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("event: reset\ndata: {\"stream\":\"b6f0\"}\n\n: heartbeat\n\n"))
	f.Add([]byte("id: 1\nevent: revoke\ndata: {\"hash\":\"" + hash("a") + "\",\"until\":1800000000}\n\n"))
	f.Add([]byte("event: ready\ndata: {\"stream\":\"a\",\"number\":1}\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		reader := revocation.NewReader(bytes.NewReader(data))
		set := revocation.NewSet(4)
		for range len(data) + 1 {
			event, err := reader.Next()
			if err != nil {
				return
			}
			switch event.Kind {
			case revocation.EventReady, revocation.EventHeartbeat:
			case revocation.EventReset:
				set.Reset(event.Stream)
			case revocation.EventRevoke:
				number := set.Position().Number
				if err := set.Apply(event.Entry, start); err != nil {
					t.Fatalf("the reader lets through what the set refuses: %v", err)
				}
				if event.Entry.Number > number && event.Entry.Until.After(start) && !set.Revoked(event.Entry.Hash, event.Entry.Until) {
					t.Fatalf("not revoked: %+v", event.Entry)
				}
			}
		}
		t.Fatal("more events than bytes")
	})
}

func FuzzDecode(f *testing.F) {
	set := revocation.NewSet(0)
	set.Reset("stream")
	for i := range 3 {
		if err := set.Apply(entry(int64(i+1), fmt.Sprint(i), start.Add(time.Minute)), start); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(set.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := revocation.Decode(data, 4, start)
		if err != nil {
			return
		}
		again, err := revocation.Decode(read.Encode(), 4, start)
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if again.Len() != read.Len() || again.Position() != read.Position() {
			t.Fatalf("read again: %d at %+v, before %d at %+v", again.Len(), again.Position(), read.Len(), read.Position())
		}
	})
}

func BenchmarkRevoked(b *testing.B) {
	set := revocation.NewSet(0)
	for i := range 10_000 {
		apply(b, set, start, entry(int64(i+1), fmt.Sprint(i), start.Add(time.Hour)))
	}
	known, unknown := hash("77"), hash("stranger")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !set.Revoked(known, start) || set.Revoked(unknown, start) {
				b.Error("wrong answer")
			}
		}
	})
}

func BenchmarkApply(b *testing.B) {
	set := revocation.NewSet(0)
	h := []byte(hash("a"))
	b.ReportAllocs()
	number := int64(0)
	for b.Loop() {
		number++
		copy(h, fmt.Sprintf("%020d", number))
		e := revocation.Entry{Number: number, Hash: string(h), Until: start.Add(time.Duration(number) * time.Second)}
		if err := set.Apply(e, start); err != nil {
			b.Fatal(err)
		}
	}
}
