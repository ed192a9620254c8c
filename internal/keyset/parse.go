package keyset

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/latchkey-dev/latchkey/internal/strictjson"
)

const (
	maxBytes = 256 << 10
	// MaxKeys is how many keys a set may hold.
	MaxKeys = 128
	// maxNumericDate is the last second of the year 9999, after which times have no RFC 3339 form.
	maxNumericDate = 253402300799
)

// Parse reads a JSON Web Key Set of public keys.
//
// Keys that are not for signatures, or are of a kind that we do not know, are left out, as RFC 7517 section 5 asks: see Set.Ignored. Anything
// wrong with the others refuses the whole set, and so do a private key or a shared secret, whose place is not there: the set
// has been where secrets must not be. The error lists all that is wrong, each with its path, such as "keys[1].n: is missing".
func Parse(data []byte) (*Set, error) { return parse(data, reader{}) }

// ParseSymmetric is Parse for a set from a secret place, which may hold the shared secrets of HS algorithms as well.
func ParseSymmetric(data []byte) (*Set, error) { return parse(data, reader{secrets: true}) }

// reader says how a key set is read.
type reader struct {
	secrets bool     // shared secrets have their place in it
	foreign bool     // what is wrong with one key takes that key out, and not the set
	taken   []string // of a foreign set: the algorithms that count, by their canonical names; none: all
}

func parse(data []byte, how reader) (*Set, error) {
	list, err := listOf(data)
	if err != nil {
		return nil, err
	}
	var keys []*Key
	var paths, ignored []string
	var faults []error
	for i, item := range list {
		path := "keys[" + strconv.Itoa(i) + "]"
		key, why, wrong := how.parseKey(item)
		switch {
		case wrong != nil:
			faults = append(faults, fmt.Errorf("%s.%w", path, wrong))
		case key == nil:
			ignored = append(ignored, path+"."+why)
		default:
			keys, paths = append(keys, key), append(paths, path)
		}
	}
	if how.foreign {
		return foreignSet(keys, paths, ignored, faults)
	}
	if len(faults) == 0 && len(keys) == 0 {
		faults = append(faults, errors.New("keys: none of them can verify signatures"))
	}
	set, err := newSet(keys, paths)
	if err = errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	set.ignored = ignored
	return set, nil
}

// listOf returns what the document has for keys.
func listOf(data []byte) ([]any, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("the key set is longer than %d bytes", maxBytes)
	}
	document, err := strictjson.ParseObject(string(data))
	if err != nil {
		return nil, fmt.Errorf("the key set is not strict JSON: %w", err)
	}
	list, ok := document["keys"].([]any)
	if !ok {
		return nil, errors.New("keys: must be an array of keys")
	}
	if len(list) > MaxKeys {
		return nil, fmt.Errorf("keys: holds more than %d keys", MaxKeys)
	}
	return list, nil
}

// parseKey returns a key, or why it is left out. Both the error and the reason begin with the name of a member.
func (how reader) parseKey(item any) (key *Key, leftOut string, err error) {
	object, ok := item.(map[string]any)
	if !ok {
		return nil, "", errors.New("kty: is missing, as the key is not an object")
	}
	m, err := membersOf(object)
	if err != nil {
		return nil, "", err
	}
	// Secrets come before anything that could leave the key out: a leak matters also in a key that nobody uses.
	if err = how.refuseSecrets(object, m); err != nil {
		return nil, "", err
	}
	if m.NotAfter, err = parseNotAfter(object); err != nil {
		return nil, "", err
	}
	ops, err := parseOperations(object)
	if err != nil {
		return nil, "", err
	}
	switch {
	case m.Use != "" && m.Use != "sig":
		return nil, "use: is " + strconv.Quote(m.Use) + ", not sig", nil
	case ops != nil && !slices.Contains(ops, "verify"):
		return nil, "key_ops: does not hold verify", nil
	case m.Type == "":
		return nil, "", errors.New("kty: is missing")
	case !slices.ContainsFunc(algorithms, func(a algorithm) bool { return a.kty == m.Type }):
		return nil, "kty: " + strconv.Quote(m.Type) + " is a type of key that we do not know", nil
	case !slices.ContainsFunc(algorithms, func(a algorithm) bool { return a.kty == m.Type && a.crv == m.Curve }):
		return nil, "crv: " + strconv.Quote(m.Curve) + " does not go with a type of key that we know", nil
	}
	if m.Algorithm == "" {
		if m.Algorithm, err = how.impliedAlgorithm(m); err != nil {
			return nil, "", err
		}
	}
	name, known := CanonicalAlgorithm(m.Algorithm)
	switch {
	case !known:
		return nil, "alg: " + strconv.Quote(m.Algorithm) + " is not an algorithm for signatures that we know", nil
	case !how.takes(name):
		return nil, "alg: " + name + " is not one that is taken from this issuer", nil
	}
	key, err = m.key()
	return key, "", err
}

// membersOf reads the members that are strings.
func membersOf(object map[string]any) (members, error) {
	var m members
	for _, field := range []struct {
		name string
		into *string
	}{
		{"kty", &m.Type},
		{"use", &m.Use},
		{"alg", &m.Algorithm},
		{"kid", &m.ID},
		{"crv", &m.Curve},
		{"n", &m.Modulus},
		{"e", &m.Exponent},
		{"x", &m.X},
		{"y", &m.Y},
		{"k", &m.Secret},
	} {
		value, present := object[field.name]
		if !present {
			continue
		}
		text, ok := value.(string)
		switch {
		case !ok:
			return members{}, fmt.Errorf("%s: must be a string", field.name)
		case text == "":
			return members{}, fmt.Errorf("%s: is empty", field.name)
		}
		*field.into = text
	}
	return m, nil
}

// refuseSecrets wants nothing in a key set that only signers know.
func (how reader) refuseSecrets(object map[string]any, m members) error {
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "priv"} {
		if _, present := object[private]; present {
			return fmt.Errorf("%s: belongs to a private key, which has no place in a key set; treat it as leaked", private)
		}
	}
	if !how.secrets && (m.Type == "oct" || m.Secret != "") {
		return errors.New("kty: is a shared secret, which has no place in a public key set; treat it as leaked")
	}
	return nil
}

// impliedAlgorithm returns the only algorithm that a key without alg can be for: a curve leaves one, RSA and oct leave several. Whoever
// reads a foreign set may have left one; who has said nothing gets what OpenID Connect has for a default.
func (how reader) impliedAlgorithm(m members) (string, error) {
	var names []string
	for _, a := range algorithms {
		if a.kty == m.Type && a.crv == m.Curve && how.takes(a.name) {
			names = append(names, a.name)
		}
	}
	switch {
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", errors.New("alg: is missing, and no algorithm that is taken from this issuer goes with the key")
	case how.foreign && len(how.taken) == 0 && m.Type == "RSA":
		return "RS256", nil
	}
	return "", fmt.Errorf("alg: is missing, and a key of type %s can be for several algorithms; %s", m.Type, how.remedy())
}

func (how reader) remedy() string {
	if how.foreign {
		return "take only one of them from this issuer"
	}
	return "add the one it is for"
}

func (how reader) takes(algorithm string) bool {
	return len(how.taken) == 0 || slices.Contains(how.taken, algorithm)
}

func parseNotAfter(object map[string]any) (int64, error) {
	value, present := object["exp"]
	if !present {
		return 0, nil
	}
	number, _ := value.(json.Number)
	seconds, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil || seconds <= 0 || seconds > maxNumericDate {
		return 0, errors.New("exp: must be a whole number of seconds since 1970")
	}
	return seconds, nil
}

func parseOperations(object map[string]any) ([]string, error) {
	value, present := object["key_ops"]
	if !present {
		return nil, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, errors.New("key_ops: must be an array of strings")
	}
	ops := make([]string, 0, len(list))
	for _, item := range list {
		op, ok := item.(string)
		if !ok {
			return nil, errors.New("key_ops: must be an array of strings")
		}
		if slices.Contains(ops, op) {
			return nil, fmt.Errorf("key_ops: holds %q twice", op)
		}
		ops = append(ops, op)
	}
	return ops, nil
}
