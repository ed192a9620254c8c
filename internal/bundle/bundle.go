// Package bundle owns the file that tells one sidecar all it needs: a policy and the issuers whose tokens it takes. It knows the file's form
// and what its parts must be to each other, not what a policy or a key means.
package bundle

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/latchkey-dev/latchkey/internal/policy"
)

const (
	// FileName is the name of the bundle among the data of its ConfigMap or Secret, and in the volume.
	FileName = "bundle.json"
	// Version is the version of the form that this package reads and writes.
	Version = 1
	// MaxBytes bounds a bundle: what fits into a ConfigMap.
	MaxBytes = 1 << 20
)

// Bundle is what one sidecar needs.
type Bundle struct {
	Version int             `json:"version"`
	Policy  policy.Document `json:"policy"`
	Issuers []Issuer        `json:"issuers,omitempty"`
	Session *Session        `json:"session,omitempty"`
}

// Issuer is one issuer whose tokens are taken.
type Issuer struct {
	// URL is what its tokens carry in iss.
	URL string `json:"url"`
	// Audiences: a token names at least one of these in aud.
	Audiences []string `json:"audiences"`
	// TokenType pins the token's typ; "" means any.
	TokenType string `json:"tokenType,omitempty"`
	// Algorithms narrows those of the keys; none means all of them.
	Algorithms []string `json:"algorithms,omitempty"`
	// ClockSkew is at most a minute.
	ClockSkew Duration `json:"clockSkew"`
	// Keys verify its tokens.
	Keys KeySet `json:"keys"`
	// Symmetric says that Keys may hold shared secrets. Such a bundle belongs into a Secret.
	Symmetric bool `json:"symmetric,omitempty"`
	// TokenService is where revocations come from, and sign-in goes to. Foreign issuers have none.
	TokenService *TokenService `json:"tokenService,omitempty"`
}

// TokenService is how the token service of an issuer is reached.
type TokenService struct {
	// URL is https, and names the host that the service's certificate is for.
	URL string `json:"url"`
	// Address is the IP address and port to dial, so that sign-in does not depend on DNS.
	Address string `json:"address"`
	// CA holds the PEM certificates that the service's certificate must lead to.
	CA string `json:"ca"`
}

// Session offers an issuer's token service on the app's own origin.
type Session struct {
	// PathPrefix is where: /login, /refresh and /logout below it.
	PathPrefix string `json:"pathPrefix"`
	// Issuer is the URL of one of the bundle's issuers, one that has a token service.
	Issuer string `json:"issuer"`
}

// HasSecrets says whether the bundle holds shared secrets, and so must be written to a Secret and never to a ConfigMap.
func (b *Bundle) HasSecrets() bool {
	for i := range b.Issuers {
		if b.Issuers[i].Symmetric {
			return true
		}
	}
	return false
}

// KeySet is a JSON Web Key Set as it stands in the bundle. It may hold shared secrets, so it prints as [redacted]; only Bundle.Marshal
// writes it out.
type KeySet []byte

const redacted = "[redacted]"

// UnmarshalJSON keeps the key set as it is. It is judged where keys are known.
func (k *KeySet) UnmarshalJSON(data []byte) error {
	*k = append((*k)[:0], data...)
	return nil
}

// MarshalJSON redacts: a bundle that somebody logs as JSON shows no keys.
func (k KeySet) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format redacts under every verb, %x and %d included.
func (k KeySet) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(redacted)) }

// String redacts.
func (k KeySet) String() string { return redacted }

// GoString redacts.
func (k KeySet) GoString() string { return redacted }

// LogValue redacts.
func (k KeySet) LogValue() slog.Value { return slog.StringValue(redacted) }

// Duration is a time.Duration that JSON shows as "5s".
type Duration struct{ time.Duration }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	d.Duration = parsed
	return nil
}

// MarshalText writes what time.Duration.String writes.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
