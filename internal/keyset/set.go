package keyset

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

// Set is some keys, told apart by their ids. It is immutable and safe for use by many goroutines.
type Set struct {
	keys    []*Key // by id
	byID    map[string]*Key
	ignored []string
	refused []string
}

// NewSet returns the set of the keys, of which there must be at least one, each with an id of its own. A single key needs none.
func NewSet(keys ...*Key) (*Set, error) {
	if len(keys) == 0 {
		return nil, errors.New("keys: there are none")
	}
	paths := make([]string, len(keys))
	for i := range keys {
		paths[i] = "keys[" + strconv.Itoa(i) + "]"
	}
	return newSet(keys, paths)
}

func newSet(keys []*Key, paths []string) (*Set, error) {
	set := &Set{keys: slices.Clone(keys), byID: make(map[string]*Key, len(keys))}
	var errs []error
	for i, key := range keys {
		switch _, twice := set.byID[key.ID()]; {
		case key.ID() == "" && len(keys) > 1:
			errs = append(errs, fmt.Errorf("%s.kid: is missing: with several keys, tokens name theirs by it", paths[i]))
		case twice:
			errs = append(errs, fmt.Errorf("%s.kid: %q appears twice", paths[i], key.ID()))
		}
		set.byID[key.ID()] = key
	}
	slices.SortFunc(set.keys, func(a, b *Key) int { return strings.Compare(a.ID(), b.ID()) })
	return set, errors.Join(errs...)
}

// Lookup returns the key that a token names. A token that names none means the only key of a set that has one.
func (s *Set) Lookup(kid string) (*Key, bool) {
	if kid == "" && len(s.keys) == 1 {
		return s.keys[0], true
	}
	key, ok := s.byID[kid]
	return key, ok
}

// Len returns how many keys there are.
func (s *Set) Len() int { return len(s.keys) }

// Keys returns the keys, sorted by id.
func (s *Set) Keys() []*Key { return slices.Clone(s.keys) }

// Symmetric says whether the set holds a shared secret, so that the set itself has to be kept secret.
func (s *Set) Symmetric() bool { return slices.ContainsFunc(s.keys, (*Key).Symmetric) }

// Ignored tells which keys of the document were left out and why, each with its path, such as `keys[2].use: is "enc", not sig`.
func (s *Set) Ignored() []string { return slices.Clone(s.ignored) }

// Refused tells which keys of a foreign document were taken out because something is wrong with them, in the same way.
func (s *Set) Refused() []string { return slices.Clone(s.refused) }

// Marshal returns the set as a JSON Web Key Set in its canonical form: equal sets give equal bytes. Where Symmetric says so, they are
// secret.
func (s *Set) Marshal() ([]byte, error) {
	document := struct {
		Keys []members `json:"keys"`
	}{make([]members, len(s.keys))}
	for i, key := range s.keys {
		document.Keys[i] = key.jwk
	}
	return json.Marshal(document)
}

// Fingerprint returns a SHA-256 hash, in hex, that is the same for equal sets only. That of a symmetric set is made from its secrets:
// keep it as secret as them.
func (s *Set) Fingerprint() string {
	document, err := s.Marshal()
	if err != nil {
		panic(err) // strings and integers always marshal
	}
	sum := sha256.Sum256(document)
	return hex.EncodeToString(sum[:])
}

// String names the keys and shows nothing of them. (It and its kin take the set by value, so that a copy cannot be printed either.)
func (s Set) String() string {
	ids := make([]string, len(s.keys))
	for i, key := range s.keys {
		ids[i] = key.String()
	}
	return "keys [" + strings.Join(ids, ", ") + "]"
}

// Format is String, whatever the verb.
func (s Set) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String for log/slog.
func (s Set) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON is Marshal for a public set, and shows nothing of a symmetric one, so that no log or status can hold its secrets by
// accident.
func (s Set) MarshalJSON() ([]byte, error) {
	if s.Symmetric() {
		return json.Marshal("[redacted]")
	}
	return s.Marshal()
}
