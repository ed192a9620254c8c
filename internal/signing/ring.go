package signing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

// The names under which SecretData keeps its parts.
const (
	RingFile      = "ring.json"   // the whole ring, for us
	PrivateFile   = "private.pem" // the key that signs, as PKCS #8; not for HS algorithms
	KeyIDFile     = "kid"         // its id
	AlgorithmFile = "algorithm"   // its algorithm
	KeySetFile    = "jwks.json"   // everything that verifies, as a JSON Web Key Set; for HS algorithms with the secrets
)

const (
	ringVersion  = 1
	maxRingBytes = 1 << 20 // no Secret is larger
	maxSerial    = 1 << 53 // a change each millisecond for a quarter of a million years
)

// Ring is all the keys of one SigningKey, in the order in which they were made. It is immutable; nil is the ring before its first key.
type Ring struct {
	serial int64
	meta   rotation.Ring
	keys   map[string]*Key // by id
}

// ringDocument is how a ring is stored.
type ringDocument struct {
	Version int           `json:"version"`
	Serial  int64         `json:"serial"`
	Keys    []keyDocument `json:"keys"`
}

type keyDocument struct {
	Phase       rotation.Phase `json:"phase"`
	PublishedAt time.Time      `json:"publishedAt,omitzero"`
	ActivatedAt time.Time      `json:"activatedAt,omitzero"`
	ActivatedBy rotation.Why   `json:"activatedBy,omitempty"`
	RetiredAt   time.Time      `json:"retiredAt,omitzero"`
	JWK         privateJWK     `json:"jwk"`
}

// ParseRing reads what Marshal wrote and refuses everything else: nobody may mint new keys over a ring that somebody damaged. The error lists
// all that is wrong, each with its path, and quotes no key.
func ParseRing(data []byte) (*Ring, error) {
	if len(data) > maxRingBytes {
		return nil, fmt.Errorf("the ring is longer than %d bytes", maxRingBytes)
	}
	var document ringDocument
	if err := strictjson.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	if document.Version != ringVersion {
		return nil, fmt.Errorf("version: is %d; this version of Latchkey reads %d", document.Version, ringVersion)
	}
	if document.Serial < 1 || document.Serial > maxSerial {
		return nil, fmt.Errorf("serial: must be between 1 and %d", maxSerial)
	}
	if len(document.Keys) == 0 {
		return nil, errors.New("keys: there are none")
	}
	if len(document.Keys) > keyset.MaxKeys {
		return nil, fmt.Errorf("keys: there are more than %d, which no verifier takes", keyset.MaxKeys)
	}

	ring := &Ring{serial: document.Serial, keys: make(map[string]*Key, len(document.Keys))}
	var errs []error
	active := 0
	for i, stored := range document.Keys {
		if err := stored.vet(); err != nil {
			errs = append(errs, fmt.Errorf("keys[%d].%w", i, err))
		}
		key, err := stored.JWK.key()
		if err != nil {
			errs = append(errs, fmt.Errorf("keys[%d].jwk: %w", i, err))
			continue
		}
		if !key.Signs() && stored.Phase != rotation.Retiring {
			errs = append(errs, fmt.Errorf("keys[%d].jwk: has no private half, which only a key that is Retiring can do without", i))
		}
		if _, twice := ring.keys[key.ID()]; twice {
			errs = append(errs, fmt.Errorf("keys[%d].jwk.kid: %s appears twice", i, key.ID()))
		}
		if stored.Phase == rotation.Active {
			if active++; active > 1 {
				errs = append(errs, fmt.Errorf("keys[%d].phase: a second key is Active", i))
			}
		}
		ring.keys[key.ID()] = key
		ring.meta = append(ring.meta, rotation.Key{
			ID:          key.ID(),
			Algorithm:   key.Algorithm(),
			Bits:        key.Bits(),
			Phase:       stored.Phase,
			PublishedAt: stored.PublishedAt.UTC(),
			ActivatedAt: stored.ActivatedAt.UTC(),
			ActivatedBy: stored.ActivatedBy,
			RetiredAt:   stored.RetiredAt.UTC(),
		})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return ring, nil
}

// vet checks that the key has the times of its phase. Its errors begin with the name of a field.
func (d keyDocument) vet() error {
	reached := map[rotation.Phase]int{rotation.Pending: 1, rotation.Active: 2, rotation.Retiring: 3}[d.Phase]
	if reached == 0 {
		return fmt.Errorf("phase: %q is none; Pending, Active and Retiring are", d.Phase)
	}
	for i, field := range []struct {
		name string
		time time.Time
	}{{"publishedAt", d.PublishedAt}, {"activatedAt", d.ActivatedAt}, {"retiredAt", d.RetiredAt}} {
		switch wanted := i < reached; {
		case wanted && field.time.IsZero():
			return fmt.Errorf("%s: is missing from a key that is %s", field.name, d.Phase)
		case !wanted && !field.time.IsZero():
			return fmt.Errorf("%s: does not go with a key that is %s", field.name, d.Phase)
		}
	}
	if activating := []rotation.Why{
		rotation.Bootstrap, rotation.Emergency, rotation.Due, rotation.Unacknowledged, rotation.Imported, rotation.Restored,
	}; reached > 1 && slices.Contains(activating, d.ActivatedBy) || reached == 1 && d.ActivatedBy == "" {
		return nil
	}
	return fmt.Errorf("activatedBy: %q does not go with a key that is %s", d.ActivatedBy, d.Phase)
}

// Marshal returns the ring with its private keys, for ParseRing to read.
func (r *Ring) Marshal() ([]byte, error) {
	document := ringDocument{Version: ringVersion, Serial: r.Serial()}
	for _, k := range r.Rotation() {
		jwk, err := r.keys[k.ID].jwk()
		if err != nil {
			return nil, err
		}
		document.Keys = append(document.Keys, keyDocument{
			Phase:       k.Phase,
			PublishedAt: k.PublishedAt,
			ActivatedAt: k.ActivatedAt,
			ActivatedBy: k.ActivatedBy,
			RetiredAt:   k.RetiredAt,
			JWK:         jwk,
		})
	}
	return json.Marshal(document)
}

// Rotation returns what is written about the keys, for rotation.Decide.
func (r *Ring) Rotation() rotation.Ring {
	if r == nil {
		return nil
	}
	return slices.Clone(r.meta)
}

// Serial returns how many times the ring was changed; 0 for the ring before its first key.
func (r *Ring) Serial() int64 {
	if r == nil {
		return 0
	}
	return r.serial
}

// Execute returns the ring after a plan, carried out at now, and leaves r as it is. generate is Generate, unless a test needs other keys.
func (r *Ring) Execute(plan rotation.Plan, now time.Time, generate func(algorithm string, rsaBits int) (*Key, error)) (*Ring, error) {
	if len(plan.Steps) == 0 && r != nil {
		return r, nil
	}
	var made []*Key
	var ids []string
	for _, step := range plan.Steps {
		if step.Kind != rotation.Generate {
			continue
		}
		key, err := generate(step.Algorithm, step.Bits)
		if err != nil {
			return nil, err
		}
		made, ids = append(made, key), append(ids, key.ID())
	}
	meta, err := r.Rotation().Apply(now.UTC().Round(0), plan.Steps, ids...)
	if err != nil {
		return nil, fmt.Errorf("changing the ring: %w", err)
	}
	return r.With(r.Serial()+1, meta, made...)
}

// With returns a ring of the keys that are noted in meta, each of which is r's or among more, and leaves r as it is. The notes may be others than
// r's.
func (r *Ring) With(serial int64, meta rotation.Ring, more ...*Key) (*Ring, error) {
	ring := &Ring{serial: serial, meta: slices.Clone(meta), keys: make(map[string]*Key, len(meta))}
	known := make(map[string]*Key)
	if r != nil {
		maps.Copy(known, r.keys)
	}
	for _, key := range more {
		known[key.ID()] = key
	}
	for _, k := range meta {
		key, ok := known[k.ID]
		if !ok {
			return nil, fmt.Errorf("changing the ring: there is no key %q", k.ID)
		}
		ring.keys[k.ID] = key
	}
	return ring, nil
}

// Lost returns the ids of those keys whose private half is not there: they have signed, and can only verify.
func (r *Ring) Lost() []string {
	var ids []string
	for _, k := range r.Rotation() {
		if key := r.keys[k.ID]; !key.Signs() && !key.alias {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// Active returns the key that signs.
func (r *Ring) Active() (*Key, bool) {
	active, ok := r.Rotation().Active()
	if !ok {
		return nil, false
	}
	return r.keys[active.ID], true
}

// Public returns every key that verifies at now, given that keys verify for retain after they stopped signing. Those that have stopped carry
// their end, so that a verifier refuses them from then on even if nobody brings it a newer set.
func (r *Ring) Public(now time.Time, retain time.Duration) (*keyset.Set, error) {
	var keys []*keyset.Key
	for _, k := range r.Rotation() {
		if k.Verifies(now, retain) {
			keys = append(keys, r.keys[k.ID].Public(k.Until(retain)))
		}
	}
	return keyset.NewSet(keys...)
}

// SecretData returns the ring in the layout of the Secret that keeps it: what any server needs to sign and verify, and the ring itself.
func (r *Ring) SecretData(now time.Time, retain time.Duration) (map[string][]byte, error) {
	active, ok := r.Active()
	if !ok {
		return nil, errors.New("no key of the ring is Active")
	}
	ring, err := r.Marshal()
	if err != nil {
		return nil, err
	}
	set, err := r.Public(now, retain)
	if err != nil {
		return nil, err
	}
	jwks, err := set.Marshal()
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{
		RingFile:      ring,
		KeyIDFile:     []byte(active.ID()),
		AlgorithmFile: []byte(active.Algorithm()),
		KeySetFile:    jwks,
	}
	if private := active.PrivatePEM(); private != nil {
		data[PrivateFile] = private
	}
	return data, nil
}

// String shows nothing. (It and its kin take the ring by value, so that a copy cannot be printed either.)
func (r Ring) String() string { return redacted }

// Format shows nothing, whatever the verb.
func (r Ring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue shows nothing.
func (r Ring) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON shows nothing: see Marshal.
func (r Ring) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
