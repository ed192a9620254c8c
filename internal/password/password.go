// Package password owns how passwords are kept: argon2id (RFC 9106) in the PHC string format. It knows neither users nor how many
// passwords may be checked at once; whoever checks them must bound that, for each check takes the memory that its hash asks for.
package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Parameters say what a hash costs.
type Parameters struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// Default is OWASP's recommendation: 19 MiB, two passes, one thread; about 20 ms.
var Default = Parameters{Memory: 19 * 1024, Time: 2, Threads: 1}

// Bounds of what Parse takes. Below, a stolen file of hashes is cheap to search; above, signing in is an attack on the server.
const (
	MinMemory  = 7 * 1024   // with at least 5 passes, as OWASP's weakest recommendation; see check
	MaxMemory  = 128 * 1024 // 128 MiB
	MaxTime    = 16
	MaxThreads = 4
	MaxCost    = 256 * 1024 // Memory times Time: about 300 ms

	// MaxLength of a password in bytes. NIST SP 800-63B asks for at least 64 characters.
	MaxLength = 1024

	saltLength = 16
	keyLength  = 32
)

func (p Parameters) check() error {
	switch {
	case p.Memory < MinMemory || p.Memory > MaxMemory:
		return fmt.Errorf("m=%d: must be between %d and %d (KiB)", p.Memory, MinMemory, MaxMemory)
	case p.Threads < 1 || p.Threads > MaxThreads:
		return fmt.Errorf("p=%d: must be between 1 and %d", p.Threads, MaxThreads)
	case p.Time < 1 || p.Time > MaxTime:
		return fmt.Errorf("t=%d: must be between 1 and %d", p.Time, MaxTime)
	case uint64(p.Memory)*uint64(p.Time) > MaxCost:
		return fmt.Errorf("m=%d,t=%d: m times t must be at most %d", p.Memory, p.Time, MaxCost)
	case uint64(p.Memory)*uint64(p.Time) < MinMemory*5:
		return fmt.Errorf("m=%d,t=%d: too cheap to search; m times t must be at least %d (m=%d,t=%d is a good choice)",
			p.Memory, p.Time, MinMemory*5, Default.Memory, Default.Time)
	}
	return nil
}

// Hash is what is kept of a password. It cannot be printed, for who has it can search for the password. The zero Hash matches nothing.
type Hash struct {
	// A pointer, because fmt prints what is behind one only at the top: a Hash in an unexported field, whose methods fmt may not call, stays
	// hidden too.
	in *hashed
}

type hashed struct {
	parameters Parameters
	salt       []byte
	key        []byte
}

// New hashes a password of 1 to MaxLength bytes.
func New(password []byte, p Parameters) (Hash, error) {
	if err := p.check(); err != nil {
		return Hash{}, err
	}
	if len(password) == 0 {
		return Hash{}, errors.New("the password is empty")
	}
	if len(password) > MaxLength {
		return Hash{}, fmt.Errorf("the password is longer than %d bytes", MaxLength)
	}
	h := &hashed{parameters: p, salt: make([]byte, saltLength)}
	rand.Read(h.salt)
	h.key = h.derive(password, keyLength)
	return Hash{h}, nil
}

// Decoy is a hash that no password matches and that costs p, which must be the Parameters of a Hash: checking a password against it makes a
// user who does not exist take as long as one who does.
func Decoy(p Parameters) Hash {
	h := &hashed{parameters: p, salt: make([]byte, saltLength), key: make([]byte, keyLength)}
	rand.Read(h.salt)
	rand.Read(h.key)
	return Hash{h}
}

// Parameters returns what checking costs.
func (h Hash) Parameters() Parameters {
	if h.in == nil {
		return Parameters{}
	}
	return h.in.parameters
}

// Matches reports whether the password is the one that was hashed. It takes the same time either way.
func (h Hash) Matches(password []byte) bool {
	if h.in == nil || len(password) > MaxLength {
		return false
	}
	return subtle.ConstantTimeCompare(h.in.derive(password, len(h.in.key)), h.in.key) == 1
}

func (h *hashed) derive(password []byte, length int) []byte {
	return argon2.IDKey(password, h.salt, h.parameters.Time, h.parameters.Memory, h.parameters.Threads, uint32(length)) //nolint:gosec // 16 to 64
}

var encoding = base64.RawStdEncoding.Strict()

// Encode returns the PHC string, `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`: the only way to get the hash out.
func (h Hash) Encode() string {
	if h.in == nil {
		return ""
	}
	p := h.in.parameters
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.Memory, p.Time, p.Threads,
		encoding.EncodeToString(h.in.salt), encoding.EncodeToString(h.in.key))
}

// Parse reads a PHC string, in the one form that Encode writes. Errors do not repeat what they read.
func Parse(encoded string) (Hash, error) {
	if len(encoded) > 512 {
		return Hash{}, errors.New("longer than 512 characters")
	}
	// "", algorithm, version, parameters, salt, key
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" {
		return Hash{}, errors.New("must look like $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>; make one with `latchkey hash-password`")
	}
	if parts[1] != "argon2id" {
		return Hash{}, errors.New("must be an argon2id hash; make one with `latchkey hash-password`")
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return Hash{}, fmt.Errorf("must be of version v=%d", argon2.Version)
	}
	h := &hashed{}
	var err error
	if h.parameters, err = parseParameters(parts[3]); err != nil {
		return Hash{}, err
	}
	if h.salt, err = decode("salt", parts[4], 8, 64); err != nil {
		return Hash{}, err
	}
	if h.key, err = decode("hash", parts[5], 16, 64); err != nil {
		return Hash{}, err
	}
	return Hash{h}, nil
}

func parseParameters(text string) (Parameters, error) {
	fields := strings.Split(text, ",")
	if len(fields) != 3 {
		return Parameters{}, errors.New("parameters: must be m, t and p, in this order")
	}
	var values [3]uint32
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(fields[i], name)
		value, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || strconv.FormatUint(value, 10) != digits {
			return Parameters{}, fmt.Errorf("parameters: %s must be a number", name)
		}
		values[i] = uint32(value)
	}
	if values[2] > MaxThreads {
		return Parameters{}, fmt.Errorf("parameters: p=%d: must be between 1 and %d", values[2], MaxThreads)
	}
	p := Parameters{Memory: values[0], Time: values[1], Threads: uint8(values[2])} //nolint:gosec // at most MaxThreads
	if err := p.check(); err != nil {
		return Parameters{}, fmt.Errorf("parameters: %w", err)
	}
	return p, nil
}

func decode(what, text string, least, most int) ([]byte, error) {
	// The strict decoder still skips line ends.
	value, err := encoding.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%s: must be base64 without padding", what)
	}
	if len(value) < least || len(value) > most {
		return nil, fmt.Errorf("%s: must have %d to %d bytes, not %d", what, least, most, len(value))
	}
	return value, nil
}

const redacted = "[redacted]"

// String hides the hash.
func (Hash) String() string { return redacted }

// Format hides the hash, whatever the verb: without it %d would print the bytes.
func (Hash) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText hides the hash, also from JSON.
func (Hash) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the hash.
func (Hash) LogValue() slog.Value { return slog.StringValue(redacted) }
