package bundle

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/crossorigin"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

const (
	// FileName is the name of the bundle among the data of its ConfigMap or Secret, and in the volume.
	FileName = "bundle.json"
	// MaxBytes bounds a bundle: what fits into a ConfigMap.
	MaxBytes = 1 << 20
	// MaxClockSkew bounds the skew of an issuer's clock: more would let tokens live noticeably longer than they say.
	MaxClockSkew = time.Minute
)

// Bundle is what one sidecar needs.
type Bundle struct {
	Policy  policy.Document
	Issuers []Issuer
	Session *Session
	// TokenSources is where requests carry their token; none means the Authorization header.
	TokenSources []credential.Source
	// CORS says what pages of other origins may do; nil leaves that to the app.
	CORS *crossorigin.Document

	// AccessLog says of which requests there is a line; "" means AccessLogDenied.
	AccessLog AccessLog
	// Tracing is where spans go; nil sends none.
	Tracing *tracing.Config

	// Certificate makes the sidecar speak TLS to callers; nil: plain HTTP.
	Certificate *Certificate
	Upstream    Upstream
	Limits      Limits
	// RevocationBound is how long the tokens of an issuer are taken after its token service was last heard of; 0: as long as they say.
	RevocationBound time.Duration
}

// Issuer is one issuer whose tokens are taken.
type Issuer struct {
	// URL is what its tokens carry in iss.
	URL string
	// Audiences: a token names at least one of these in aud.
	Audiences []string
	// TokenType pins the token's typ; "" means any.
	TokenType string
	// Algorithms narrows those of the keys; none means all of them.
	Algorithms []string
	// Claims says what its tokens must say to be taken, and which claims are set from them.
	Claims policy.ClaimDocument
	// ClockSkew is how far the issuer's clock and ours may differ, at most MaxClockSkew.
	ClockSkew time.Duration
	// Keys verify its tokens. Only a Foreign issuer may have none: those of one whose keys nobody could fetch yet.
	Keys KeySet
	// Symmetric says that Keys may hold shared secrets. Such a bundle belongs into a Secret.
	Symmetric bool
	// KeysFrom says where Keys come from; nil for keys that were given as they are.
	KeysFrom *KeysFrom
	// Foreign says where somebody else publishes Keys; nil for keys that are not fetched.
	Foreign *Foreign
	// TokenService is where revocations come from, and sign-in goes to. Foreign issuers have none.
	TokenService *TokenService
}

// KeysFrom names the objects that an issuer's keys come from. It is a note of the manager to itself: should
// the policy become one that cannot be rendered, this is how its last good bundle gets to know new and revoked keys. Sidecars do not read it.
type KeysFrom struct {
	// TokenIssuer is the name of the TokenIssuer whose keys they are; "" when a policy names the SigningKey itself.
	TokenIssuer string
	// SigningKey is the name of the SigningKey that published them.
	SigningKey string
	// Namespace is the SigningKey's; "" when it is the policy's.
	Namespace string
}

// Foreign is where an issuer publishes its keys. The manager fetches them again and again; a sidecar may once in a while, for a kid that it
// does not know.
type Foreign struct {
	// JWKSURI is the https URL of the key set; "" while the document at DiscoveryURL was never read.
	JWKSURI string
	// DiscoveryURL is the https URL of the document that names the key set; "" where the policy names the key set itself. Sidecars do not read it.
	DiscoveryURL string
	// CA holds the PEM certificates that the certificates of both must lead to; "" means those that the system trusts.
	CA string
}

// TokenService is how the token service of an issuer is reached.
type TokenService struct {
	// URL is https, and names the host that the service's certificate is for.
	URL string
	// Address is the IP address and port to dial, so that sign-in does not depend on DNS.
	Address string
	// CA holds the PEM certificates that the service's certificate must lead to.
	CA string
	// Token is what a sidecar shows to be believed. Such a bundle belongs into a Secret.
	Token sidecartoken.Token
}

// Session offers an issuer's token service on the app's own origin.
type Session struct {
	// PathPrefix is where: /login, /refresh and /logout below it.
	PathPrefix string
	// Issuer is the URL of one of the bundle's issuers, one that has a token service.
	Issuer string
	// TrustedProxies are networks in CIDR notation. What X-Forwarded-For says is believed as far as it passed through these alone.
	TrustedProxies []string
	// ServerRendered keeps users of an app whose pages are rendered on a server signed in; nil: scripts do that.
	ServerRendered *ServerRendered
}

// ServerRendered has both tokens kept in cookies.
type ServerRendered struct {
	// SignInPath is the path of the app's page with the sign-in form.
	SignInPath string `json:"signInPath"`
}

// HasSecrets says whether the bundle holds shared secrets or a private key, and so must be written to a Secret and never to a ConfigMap.
func (b *Bundle) HasSecrets() bool {
	if b.Certificate != nil {
		return true
	}
	for i := range b.Issuers {
		if b.Issuers[i].Symmetric || b.Issuers[i].TokenService != nil {
			return true
		}
	}
	return false
}

// KeySet is a JSON Web Key Set as it stands in the bundle, judged where keys are known. It may hold shared secrets, so it prints as
// [redacted]; only Bundle.Marshal writes it out.
type KeySet []byte

const redacted = "[redacted]"

// MarshalJSON redacts: a bundle that somebody logs as JSON shows no keys.
func (k KeySet) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format redacts under every verb, %x and %d included.
func (k KeySet) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(redacted)) }

// String redacts.
func (k KeySet) String() string { return redacted }

// LogValue redacts.
func (k KeySet) LogValue() slog.Value { return slog.StringValue(redacted) }
