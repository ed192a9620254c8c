package users_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/password"
)

var cheap = password.Parameters{Memory: password.MinMemory, Time: 5, Threads: 1}

func hashOf(t testing.TB, pass string) string {
	t.Helper()
	h, err := password.New([]byte(pass), cheap)
	if err != nil {
		t.Fatal(err)
	}
	return h.Encode()
}

func TestAuthenticate(t *testing.T) {
	u, err := users.Parse(fmt.Appendf(nil, `---
# who may sign in
users:
- name: alice
  passwordHash: %s
  claims:
    email: alice@example.com
    roles: [admin, dev]
    limits: {requests: 12345678901234567, nested: {a: [1, null, true]}}
- name: bob
  passwordHash: "%s"
...
# nothing more
`, hashOf(t, "alice's"), hashOf(t, "bob's")))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, user, password string
		want                 bool
	}{
		{"takes a user's own password", "alice", "alice's", true},
		{"refuses another user's password", "alice", "bob's", false},
		{"takes a name in another case", "Alice", "alice's", true},
		{"refuses a name with a space behind", "alice ", "alice's", false},
		{"refuses a user who does not exist", "carol", "alice's", false},
		{"refuses nobody", "", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, got := u.Authenticate(tc.user, []byte(tc.password)); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}

	alice, ok := u.Find("alice")
	if !ok {
		t.Fatal("alice is not there")
	}
	got := map[string]string{}
	for name, value := range alice.Claims {
		got[name] = string(value)
	}
	want := map[string]string{
		"email":  `"alice@example.com"`,
		"roles":  `["admin","dev"]`,
		"limits": `{"nested":{"a":[1,null,true]},"requests":12345678901234567}`,
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("claims (-got +want):\n%s", diff)
	}
	if printed := fmt.Sprintf("%+v", alice); strings.Contains(printed, "argon2") || strings.Contains(printed, "Memory") {
		t.Errorf("printed: %s", printed)
	}
}

func TestNobodyMaySignInWhereNobodyIsListed(t *testing.T) {
	u, err := users.Parse([]byte("users: []"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := u.Authenticate("alice", []byte("alice's")); ok {
		t.Error("alice got in")
	}
}

func TestCheckMemoryIsThatOfTheCostliestHash(t *testing.T) {
	const costly = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, tc := range []struct {
		name, in string
		want     uint32
	}{
		{"of one", "users: [{name: a, passwordHash: '" + costly + "'}]", 65536},
		{"of two", "users: [{name: a, passwordHash: '" + costly + "'}, {name: b, passwordHash: '" + hashOf(t, "b") + "'}]", 65536},
		{"of none, where names cost the default", "users: []", password.Default.Memory},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := users.Parse([]byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := u.CheckMemory(); got != tc.want {
				t.Errorf("got %d KiB, want %d", got, tc.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	hash := hashOf(t, "secret")
	entry := func(name, rest string) string {
		return "users:\n- name: " + name + "\n  passwordHash: " + hash + "\n" + rest
	}
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "", "must be an object, not null"},
		{"no list", "{}", "users: missing; a list with nobody in it is written []"},
		{"a list of names", "users: [alice]", "users[0]: must be an object, not a string"},
		{"an unknown field", entry("alice", "  role: admin\n"), "users[0].role: unknown field"},
		{"a field in another case", entry("alice", "  Claims: {}\n"), "users[0].Claims: unknown field"},
		{"a field given twice", entry("alice", "  name: bob\n"), `not valid YAML: line 4: key "name" already set in map`},
		{"a value that YAML stumbles over", "users: [{name: alice, passwordHash: *hunter2}]", "not valid YAML: unknown anchor …"},
		{"a value of a kind that does not fit", "users: [{name: alice, passwordHash: !!int hunter2}]", "not valid YAML: cannot decode !!str …"},
		{"a user listed twice", entry("alice", "- name: alice\n  passwordHash: "+hash+"\n"), "users[1].name: the same as users[0].name; case does not count"},
		{"a user listed twice, in another case", entry("alice", "- name: ALICE\n  passwordHash: "+hash+"\n"), "users[1].name: the same as users[0].name; case does not count"},
		{"a user listed twice, with accents put in another way", entry("jos\u00e9", "- name: jose\u0301\n  passwordHash: "+hash+"\n"), "users[1].name: the same as users[0].name; case does not count"},
		{"a nameless user", entry(`""`, ""), "users[0].name: must have 1 to 256 bytes"},
		{"a name with a line end", entry(`"a\nb"`, ""), "users[0].name: must be printable, without white space around it"},
		{"a name that is a number", entry("123", ""), "users[0].name: must be a string, not a number"},
		{"a password in clear", "users: [{name: alice, passwordHash: hunter2}]", "users[0].passwordHash: " + noHash},
		{"a claim that is the token service's", entry("alice", "  claims: {sub: root}\n"), "users[0].claims.sub: is the token service's own to say"},
		{"scopes by the name that others give them", entry("alice", "  claims: {scp: [root]}\n"), "users[0].claims.scp: is the token service's own to say"},
		{"scopes in capitals", entry("alice", "  claims: {SCOPE: root}\n"), "users[0].claims.SCOPE: is the token service's own to say"},
		{"scopes in a list", entry("alice", "  claims: {scope: [root]}\n"), "users[0].claims.scope: must be a string of scopes with spaces between them (RFC 6749, section 3.3)"},
		{"no scopes, said so by nothing", entry("alice", "  claims: {scope: null}\n"), "users[0].claims.scope: must be a string of scopes with spaces between them (RFC 6749, section 3.3)"},
		{"what is no scope", entry("alice", "  claims: {scope: 'a  b'}\n"),
			"users[0].claims.scope: must be scopes with one space between them: each 1 to 128 visible ASCII characters, without a quotation mark or backslash"},
		{"such a claim in another case", entry("alice", "  claims: {SUB: root}\n"), "users[0].claims.SUB: is the token service's own to say"},
		{"such a claim in letters that fold to it", entry("alice", "  claims: {\u017fub: root}\n"), "users[0].claims.\u017fub: is the token service's own to say"},
		{"a hash that became names for want of a space", "users: [{name: alice, passwordHash:" + hash + "}]",
			"users[0][\"…\"…]: unknown field\nusers[0][\"…\"]: unknown field\nusers[0][\"…\"]: unknown field"},
		{"a hash for a name", "users:\n- " + hash + ": alice\n", "users[0][\"…\"…]: unknown field"},
		{"a hash for a name, twice", "users:\n- " + hash + ": alice\n  " + hash + ": bob\n", "not valid YAML: line 3: key \"…\" already set in map"},
		{"a hash that belongs to nothing", "users:\n- ~: " + hash + "\n",
			"not valid YAML: unsupported map key of type: %!s(<nil>), key: <nil>, value: \"…\""},
		{"aliases that make a mountain of it", entry("alice", "  claims: {a: &a "+strings.Repeat("a", 100<<10)+", b: ["+strings.Repeat("*a,", 3000)+"]}\n"),
			"larger than 1048576 bytes with its aliases filled in"},
		{"more faults than anybody reads", "users: [" + strings.Repeat("{name: '', passwordHash: ''},", 1000) + "]",
			strings.Join(tenTimes("users[%[1]d].name: must have 1 to 256 bytes\nusers[%[1]d].passwordHash: "+noHash), "\n") + "\nand more"},
		{"claims that make a token too large", entry("alice", "  claims: {a: "+strings.Repeat("a", 5000)+"}\n"), "users[0].claims: 5003 bytes of JSON; must be at most 4096, for tokens travel in headers"},
		{"a second document", entry("alice", "---\nusers: []\n"), "holds more than one YAML document; there must be one"},
		{"a document after the end", entry("alice", "...\nusers: []\n"), "holds more than one YAML document; there must be one"},
		{"an empty document first", "---\n---\n" + entry("alice", ""), "holds more than one YAML document; there must be one"},
		{"every fault at once", "users: [{name: '', passwordHash: '$argon2i$v=19$m=1,t=1,p=1$a$b', claims: {iss: x}}]",
			"users[0].name: must have 1 to 256 bytes\nusers[0].passwordHash: must be an argon2id hash; make one with `latchkey hash-password`\nusers[0].claims.iss: is the token service's own to say"},
		{"a file beyond what a Secret holds", strings.Repeat("#", 1<<20+1), "larger than 1048576 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := users.Parse([]byte(tc.in))
			if err == nil {
				t.Fatal("accepted")
			}
			got := err.Error()
			if got != tc.want {
				t.Errorf("error:\n got %s\nwant %s", got, tc.want)
			}
			if strings.Contains(got, "hunter2") || strings.Contains(got, hash[len(hash)-43:][:20]) {
				t.Errorf("the error repeats a secret: %s", got)
			}
		})
	}
}

const noHash = "must look like $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>; make one with `latchkey hash-password`"

// tenTimes fills the numbers 0 to 9 in.
func tenTimes(format string) (all []string) {
	for i := range 10 {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

func TestAliasesThatSaveWritingAreTaken(t *testing.T) {
	u, err := users.Parse(fmt.Appendf(nil, `users:
- {name: alice, passwordHash: '%[1]s', claims: &staff {roles: [staff]}}
- {name: bob, passwordHash: '%[1]s', claims: *staff}
`, hashOf(t, "x")))
	if err != nil {
		t.Fatal(err)
	}
	bob, _ := u.Find("bob")
	if got, want := string(bob.Claims["roles"]), `["staff"]`; got != want {
		t.Errorf("bob's roles: got %s, want %s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("users: []"))
	f.Add([]byte("users: [{name: alice, passwordHash: '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc', claims: {a: [1]}}]"))
	f.Add([]byte("---\nusers:\n- name: alice\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := users.Parse(data)
		if err == nil && u.Len() > 0 && strings.Count(string(data), "argon2id") == 0 {
			t.Errorf("a user without a password: %q", data)
		}
	})
}

func TestOnePersonIsOneNameHoweverItIsTyped(t *testing.T) {
	u, err := users.Parse(fmt.Appendf(nil, "users:\n- name: \"Jose\u0301 Stra\u00dfe\"\n  passwordHash: %s\n", hashOf(t, "his")))
	if err != nil {
		t.Fatal(err)
	}
	const sub = "Jos\u00e9 Stra\u00dfe"
	for _, typed := range []string{sub, "jose\u0301 stra\u00dfe", "JOSE\u0301 STRA\u1e9eE"} {
		if user, ok := u.Authenticate(typed, []byte("his")); !ok || user.Name != sub {
			t.Errorf("%q: got %v, %v, want %q", typed, user, ok, sub)
		}
		if users.Fold(typed) != users.Fold(sub) {
			t.Errorf("%q and %q are compared as %q and %q, want one", typed, sub, users.Fold(typed), users.Fold(sub))
		}
	}
	if user, err := users.Vet("Jose\u0301", nil); err != nil || user.Name != "Jos\u00e9" {
		t.Errorf("vouched for: got %v, %v, want the name in NFC and its own case", user, err)
	}
}
