package password_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/password"
)

// cheap is the cheapest that is allowed.
var cheap = password.Parameters{Memory: password.MinMemory, Time: 5, Threads: 1}

func TestMatches(t *testing.T) {
	h, err := password.New([]byte("correct horse"), cheap)
	if err != nil {
		t.Fatal(err)
	}
	again, err := password.Parse(h.Encode())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, password string
		hash           password.Hash
		want           bool
	}{
		{"takes the password", "correct horse", h, true},
		{"takes the password after the hash was stored", "correct horse", again, true},
		{"refuses another", "correct house", again, false},
		{"refuses the empty one", "", again, false},
		{"refuses one with a NUL behind", "correct horse\x00", again, false},
		{"refuses a very long one", strings.Repeat("a", password.MaxLength+1), again, false},
		{"refuses everything for a decoy", "correct horse", password.Decoy(cheap), false},
		{"refuses everything for no hash at all", "", password.Hash{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.hash.Matches([]byte(tc.password)); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// The hash was made by the reference implementation: echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -l 32.
func TestAgreesWithTheReferenceImplementation(t *testing.T) {
	h, err := password.Parse("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil {
		t.Fatal(err)
	}
	if !h.Matches([]byte("password")) {
		t.Error("does not match")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, password string
		parameters     password.Parameters
		want           string
	}{
		{"an empty password", "", cheap, "the password is empty"},
		{"a very long password", strings.Repeat("a", 1025), cheap, "the password is longer than 1024 bytes"},
		{"parameters that are too cheap", "a", password.Parameters{Memory: 8 * 1024, Time: 1, Threads: 1},
			"m=8192,t=1: too cheap to search; m times t must be at least 35840 (m=19456,t=2 is a good choice)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := password.New([]byte(tc.password), tc.parameters)
			if err == nil {
				t.Fatal("accepted")
			}
			if got := err.Error(); got != tc.want {
				t.Errorf("error: got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const salt, key = "c29tZXNhbHRzb21lc2FsdA", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	const good = "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key
	if _, err := password.Parse(good); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, replace, by, want string }{
		{"nothing", good, "", "must look like"},
		{"a password in clear", good, "hunter2", "must look like"},
		{"a bcrypt hash", good, "$2b$12$abcdefghijklmnopqrstuv", "must look like"},
		{"argon2i", "argon2id", "argon2i", "must be an argon2id hash"},
		{"an old version", "v=19", "v=16", "must be of version v=19"},
		{"parameters in another order", "m=19456,t=2", "t=2,m=19456", "parameters: m= must be a number"},
		{"a leading zero", "t=2", "t=02", "parameters: t= must be a number"},
		{"a sign", "t=2", "t=+2", "parameters: t= must be a number"},
		{"a number that overflows", "m=19456", "m=4294986752", "parameters: m= must be a number"},
		{"threads that overflow a byte", "p=1", "p=257", "parameters: p=257: must be between 1 and 4"},
		{"no thread", "p=1", "p=0", "parameters: p=0: must be between 1 and 4"},
		{"no pass", "t=2", "t=0", "parameters: t=0: must be between 1 and 16"},
		{"little memory", "m=19456", "m=1024", "parameters: m=1024: must be between 7168 and 131072 (KiB)"},
		{"a gigabyte", "m=19456", "m=1048576", "parameters: m=1048576: must be between 7168 and 131072 (KiB)"},
		{"too much work", "m=19456,t=2", "m=131072,t=16", "parameters: m=131072,t=16: m times t must be at most 262144"},
		{"padding", salt, salt + "==", "salt: must be base64 without padding"},
		{"a line end inside", salt, salt[:4] + "\n" + salt[4:], "salt: must be base64 without padding"},
		{"bits left over", salt, salt[:21] + "B", "salt: must be base64 without padding"},
		{"a short salt", salt, "c29t", "salt: must have 8 to 64 bytes, not 3"},
		{"a short hash", key, "c29t", "hash: must have 16 to 64 bytes, not 3"},
		{"a long text", key, strings.Repeat("A", 600), "longer than 512 characters"},
		{"something behind", key, key + "$", "must look like"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := password.Parse(strings.Replace(good, tc.replace, tc.by, 1))
			if err == nil {
				t.Fatal("accepted")
			}
			if got := err.Error(); !strings.HasPrefix(got, tc.want) {
				t.Errorf("error: got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAHashCannotBePrinted(t *testing.T) {
	h, err := password.Parse("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ Hash, hidden password.Hash }{h, h}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("hello", "hash", h)
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{fmt.Sprintf("%v", holder), fmt.Sprintf("%+v", holder), fmt.Sprintf("%#v", holder), fmt.Sprintf("%d", holder), log.String(), string(asJSON)} {
		if !strings.Contains(printed, "[redacted]") || strings.Contains(printed, "CTFhFd") || strings.Contains(printed, "115 111 109 101") {
			t.Errorf("printed: %s", printed)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5Q")
	f.Fuzz(func(t *testing.T, encoded string) {
		h, err := password.Parse(encoded)
		if err != nil {
			return
		}
		if got := h.Encode(); got != encoded {
			t.Errorf("one hash has two forms: %q and %q", encoded, got)
		}
	})
}

func BenchmarkMatches(b *testing.B) {
	h, err := password.New([]byte("correct horse"), password.Default)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		h.Matches([]byte("wrong horse"))
	}
}
