// Package users owns the file users.yaml: who may sign in, with which password, and what their tokens say about them. It knows no sessions
// and no tokens.
//
//	users:
//	- name: alice
//	  passwordHash: $argon2id$v=19$m=19456,t=2,p=1$...   # latchkey hash-password
//	  claims:
//	    email: alice@example.com
//	    roles: [admin]
package users

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"sigs.k8s.io/yaml"
	goyaml "sigs.k8s.io/yaml/goyaml.v2"

	"github.com/latchkey-dev/latchkey/internal/base64url"
	"github.com/latchkey-dev/latchkey/internal/password"
	"github.com/latchkey-dev/latchkey/internal/scope"
	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// File is the name of the file in its Secret.
const File = "users.yaml"

const (
	maxFile   = 1 << 20 // what a Secret holds
	maxName   = 256
	maxClaims = 4 << 10 // bytes of JSON: tokens travel in headers, whose size servers limit to 8 KiB or so
	maxFaults = 20      // told at once
)

// reserved claims are the token service's own, or would change what a token means: RFC 7519, RFC 9068, RFC 7800, RFC 8693, OpenID Connect. So is
// scp, another spelling of scope in which one that was left out could come back.
var reserved = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "auth_time", "client_id", "azp", "nonce", "acr", "amr", "at_hash", "c_hash", "cnf", "act", "may_act",
	"events", "sub_id", "token_introspection", "scp",
	scopeClaim, // but for this very spelling
}

// scopeClaim is what the user's tokens are good for, where that is not what all users' are.
const scopeClaim = "scope"

// User is one who may sign in.
type User struct {
	Name   string
	Claims map[string]json.RawMessage // compact JSON

	hash        password.Hash
	fingerprint string
}

// Users is the file, read. It is immutable.
type Users struct {
	byName map[string]*User // by Fold
	decoys []password.Hash  // one a user, with the same cost
	memory uint32           // KiB, of the costliest
	seed   maphash.Seed
}

type document struct {
	Users []struct {
		Name         string                     `json:"name"`
		PasswordHash string                     `json:"passwordHash"`
		Claims       map[string]json.RawMessage `json:"claims"`
	} `json:"users"`
}

// Parse reads the file. The error lists its faults with their paths, the first 20, and repeats neither hashes nor names.
func Parse(data []byte) (*Users, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	if secondDocument(data) {
		return nil, errors.New("holds more than one YAML document; there must be one")
	}
	asJSON, err := toJSON(data)
	if err != nil {
		return nil, err
	}
	var d document
	if err := strictjson.Unmarshal(asJSON, &d); err != nil {
		return nil, errors.New(withoutQuotes(err.Error()))
	}
	if d.Users == nil {
		return nil, errors.New("users: missing; a list with nobody in it is written []")
	}

	u := &Users{byName: make(map[string]*User, len(d.Users)), seed: maphash.MakeSeed()}
	var faults []error
	first := make(map[string]int, len(d.Users))
	for i, entry := range d.Users {
		at := fmt.Sprintf("users[%d]", i)
		entry.Name = norm.NFC.String(entry.Name)
		folded := Fold(entry.Name)
		if err := checkName(entry.Name); err != nil {
			faults = append(faults, fmt.Errorf("%s.name: %w", at, err))
		} else if before, twice := first[folded]; twice {
			faults = append(faults, fmt.Errorf("%s.name: the same as users[%d].name; case does not count", at, before))
		} else {
			first[folded] = i
		}
		hash, err := password.Parse(entry.PasswordHash)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s.passwordHash: %w", at, err))
		}
		claims, errs := parseClaims(at+".claims", entry.Claims)
		faults = append(faults, errs...)
		u.byName[folded] = &User{Name: entry.Name, Claims: claims, hash: hash, fingerprint: fingerprint(hash)}
		u.decoys = append(u.decoys, password.Decoy(hash.Parameters()))
		if len(faults) > maxFaults {
			faults = append(faults[:maxFaults], errors.New("and more"))
			break
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if len(u.decoys) == 0 {
		u.decoys = append(u.decoys, password.Decoy(password.Default))
	}
	for _, decoy := range u.decoys {
		u.memory = max(u.memory, decoy.Parameters().Memory)
	}
	return u, nil
}

// Len is how many users there are.
func (u *Users) Len() int { return len(u.byName) }

// Find returns the user whom a name stands for, however it is typed.
func (u *Users) Find(typed string) (*User, bool) {
	user, ok := u.byName[Fold(typed)]
	return user, ok
}

// Fold is what names are compared by: one person is one name, whatever the keyboard makes of its accents (Unicode's form NFC) and capitals (simple
// case folding).
func Fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, norm.NFC.String(name))
}

// Fingerprint changes whenever the password does, and tells nothing of it: it is a hash of the salted hash.
func (u *User) Fingerprint() string { return u.fingerprint }

func fingerprint(of password.Hash) string {
	sum := sha256.Sum256([]byte("latchkey password\x00" + of.Encode()))
	return base64url.Encode(sum[:12])
}

// Scopes are what tokens of the user are good for by their claim scope, and whether they have one.
func (u *User) Scopes() (list []string, said bool) {
	claim, said := u.Claims[scopeClaim]
	if !said {
		return nil, false
	}
	list, err := scopesOf(claim)
	if err != nil { // it was read before
		panic(err)
	}
	return list, true
}

func scopesOf(claim json.RawMessage) ([]string, error) {
	var text *string
	if json.Unmarshal(claim, &text) != nil || text == nil {
		return nil, errors.New("must be a string of scopes with spaces between them (RFC 6749, section 3.3)")
	}
	return scope.Parse(*text)
}

// CheckMemory is how many KiB Authenticate takes at most. It is one number for all names, so that waiting for room tells nothing about them.
func (u *Users) CheckMemory() uint32 { return u.memory }

// Authenticate returns the user whom a typed name stands for if the password is theirs. It costs one argon2id hash in any case: for a name that does not
// exist, a hash with the parameters of some user, always the same one for the same name, so that the time tells nothing.
func (u *Users) Authenticate(name string, pass []byte) (*User, bool) {
	folded := Fold(name)
	user, known := u.byName[folded]
	hash := u.decoys[maphash.String(u.seed, folded)%uint64(len(u.decoys))]
	if known {
		hash = user.hash
	}
	if !hash.Matches(pass) || !known {
		return nil, false
	}
	return user, true
}

// Vet returns a user that somebody else vouches for, with the same bounds on name and claims. The name is taken in NFC; its case is theirs to
// decide, and to keep to. The error repeats neither values nor the name.
func Vet(name string, claims map[string]json.RawMessage) (*User, error) {
	name = norm.NFC.String(name)
	var faults []error
	if err := checkName(name); err != nil {
		faults = append(faults, fmt.Errorf("username: %w", err))
	}
	compact, wrong := parseClaims("claims", claims)
	if err := errors.Join(append(faults, wrong...)...); err != nil {
		return nil, err
	}
	return &User{Name: name, Claims: compact}, nil
}

func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("must have 1 to %d bytes", maxName)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }) || strings.TrimSpace(name) != name {
		return errors.New("must be printable, without white space around it")
	}
	return nil
}

func parseClaims(at string, in map[string]json.RawMessage) (map[string]json.RawMessage, []error) {
	var faults []error
	claims := make(map[string]json.RawMessage, len(in))
	size := 0
	for _, name := range slices.Sorted(maps.Keys(in)) {
		var compact bytes.Buffer
		if err := json.Compact(&compact, in[name]); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", at, err))
			continue
		}
		size += len(name) + compact.Len()
		claims[name] = compact.Bytes()
		switch {
		case name == "" || len(name) > 128:
			faults = append(faults, fmt.Errorf("%s: the name of a claim must have 1 to 128 bytes", at))
		// As those who read tokens fold names: not only SUB, also ſub, with a long s.
		case name != scopeClaim && slices.ContainsFunc(reserved, func(own string) bool { return strings.EqualFold(own, name) }):
			faults = append(faults, fmt.Errorf("%s.%s: is the token service's own to say", at, name))
		case name == scopeClaim:
			if _, err := scopesOf(in[name]); err != nil {
				faults = append(faults, fmt.Errorf("%s.%s: %w", at, name, err))
			}
		}
	}
	if size > maxClaims {
		faults = append(faults, fmt.Errorf("%s: %d bytes of JSON; must be at most %d, for tokens travel in headers", at, size, maxClaims))
	}
	return claims, faults
}

// secondDocument reports whether there is more than one YAML document: the reader would take the first and say nothing of the others. In
// YAML a line that starts with the marker is one even inside a block scalar.
func secondDocument(data []byte) bool {
	content, ended := false, false
	for line := range bytes.Lines(data) {
		line = bytes.TrimRight(line, "\r\n")
		start := isMarker(line, "---")
		switch blank := len(bytes.TrimSpace(line)) == 0 || bytes.TrimSpace(line)[0] == '#'; {
		case start && (content || ended):
			return true
		case start:
			content = true // an empty document is one too
		case isMarker(line, "..."):
			ended = true
		case !blank && ended:
			return true
		case !blank:
			content = true
		}
	}
	return false
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t')
}

// toJSON turns YAML into JSON, unless that would be a multiple of it: an alias takes two bytes, and stands for as much as was given a name.
func toJSON(data []byte) ([]byte, error) {
	var value any
	if err := goyaml.UnmarshalStrict(data, &value); err != nil { // the very reader that YAMLToJSONStrict uses
		return nil, yamlFault(err)
	}
	if room := maxFile; !fits(value, &room) {
		return nil, fmt.Errorf("larger than %d bytes with its aliases filled in", maxFile)
	}
	converted, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, yamlFault(err)
	}
	return converted, nil
}

// fits reports whether there is room for a value as YAML was read into it, a byte at least for everything in it, and takes that room.
func fits(value any, room *int) bool {
	*room--
	switch value := value.(type) {
	case string:
		*room -= len(value)
	case []any:
		for _, item := range value {
			if !fits(item, room) {
				return false
			}
		}
	case map[any]any:
		for name, member := range value {
			if !fits(name, room) || !fits(member, room) {
				return false
			}
		}
	}
	return *room >= 0
}

// yamlFault keeps what the YAML reader says of lines and keys, and not what it quotes of values: they may be hashes.
func yamlFault(err error) error {
	message := err.Error()
	if at := strings.IndexAny(message, "`'"); at >= 0 {
		message = message[:at] + "…"
	}
	message = strings.Join(strings.Fields(message), " ")
	message = strings.TrimPrefix(strings.TrimPrefix(message, "yaml: "), "unmarshal errors: ")
	return errors.New("not valid YAML: " + withoutQuotes(message))
}

var (
	quoted    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	fieldName = regexp.MustCompile(`^"[A-Za-z_]{1,32}"$`)
)

// withoutQuotes leaves out what an error quotes, unless it can only be the name of a field. A space or a quote that is missing makes a name of
// what should have been a value, so these may be hashes as well.
func withoutQuotes(message string) string {
	return quoted.ReplaceAllStringFunc(message, func(text string) string {
		if fieldName.MatchString(text) {
			return text
		}
		return `"…"`
	})
}
