package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/latchkey-dev/latchkey/internal/credential"
	"github.com/latchkey-dev/latchkey/internal/crossorigin"
	"github.com/latchkey-dev/latchkey/internal/policy"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/strictjson"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// version is the one that this package reads and writes.
const version = 1

// errTooLarge is the refusal of a bundle beyond MaxBytes.
var errTooLarge = fmt.Errorf("larger than %d bytes", MaxBytes)

// document is a bundle in JSON.
type document struct {
	Version int              `json:"version"`
	Policy  policy.Document  `json:"policy"`
	Issuers []issuerDocument `json:"issuers,omitempty"`
	Session *sessionDocument `json:"session,omitempty"`

	TokenSources []credential.Source   `json:"tokenSources,omitempty"`
	CORS         *crossorigin.Document `json:"cors,omitempty"`

	AccessLog AccessLog       `json:"accessLog,omitempty"`
	Tracing   *tracing.Config `json:"tracing,omitempty"`

	TLS        *certificateDocument `json:"tls,omitempty"`
	Upstream   upstreamDocument     `json:"upstream,omitzero"`
	Limits     limitsDocument       `json:"limits,omitzero"`
	Revocation *revocationDocument  `json:"revocation,omitempty"`
}

type issuerDocument struct {
	URL           string                `json:"url"`
	Audiences     []string              `json:"audiences"`
	TokenType     string                `json:"tokenType,omitempty"`
	Algorithms    []string              `json:"algorithms,omitempty"`
	ClockSkew     string                `json:"clockSkew"` // as Go writes durations
	ClaimRules    []policy.ClaimRule    `json:"claimValidationRules,omitempty"`
	ClaimMappings []policy.ClaimMapping `json:"claimMappings,omitempty"`
	Keys          json.RawMessage       `json:"keys,omitempty"`
	Symmetric     bool                  `json:"symmetric,omitempty"`
	KeysFrom      *keysFromDocument     `json:"keysFrom,omitempty"`
	Foreign       *foreignDocument      `json:"foreign,omitempty"`
	TokenService  *tokenServiceDocument `json:"tokenService,omitempty"`
}

type keysFromDocument struct {
	TokenIssuer string `json:"tokenIssuer,omitempty"`
	SigningKey  string `json:"signingKey,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
}

type foreignDocument struct {
	JWKSURI      string `json:"jwksURI,omitempty"`
	DiscoveryURL string `json:"discoveryURL,omitempty"`
	CA           string `json:"ca,omitempty"`
}

type tokenServiceDocument struct {
	URL     string `json:"url"`
	Address string `json:"address"`
	CA      string `json:"ca"`
	Token   string `json:"token"`
}

func (d *tokenServiceDocument) read() (*TokenService, error) {
	if d == nil {
		return nil, nil
	}
	token, err := sidecartoken.Parse(d.Token)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	return &TokenService{URL: d.URL, Address: d.Address, CA: d.CA, Token: token}, nil
}

func (s *TokenService) document() *tokenServiceDocument {
	if s == nil {
		return nil
	}
	return &tokenServiceDocument{URL: s.URL, Address: s.Address, CA: s.CA, Token: s.Token.Encode()}
}

type sessionDocument struct {
	PathPrefix     string   `json:"pathPrefix"`
	Issuer         string   `json:"issuer"`
	TrustedProxies []string `json:"trustedProxies,omitempty"`

	ServerRendered *ServerRendered `json:"serverRendered,omitempty"`
}

// Parse reads a bundle that Marshal wrote: strictly, and only when its parts are fit for each other. The policy is compiled, and the key
// sets are judged, by those who use them. The error lists every fault with its path, and shows nothing of the key sets.
func Parse(data []byte) (*Bundle, error) {
	if len(data) > MaxBytes {
		return nil, errTooLarge
	}
	var d document
	if err := strictjson.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	if d.Version != version {
		return nil, fmt.Errorf("version: must be %d, the only one that this build knows", version)
	}

	b := &Bundle{Policy: d.Policy, Session: (*Session)(d.Session), TokenSources: d.TokenSources, CORS: d.CORS, AccessLog: d.AccessLog, Tracing: d.Tracing}
	faults := d.readTraffic(b)
	for i, issuer := range d.Issuers {
		skew, err := time.ParseDuration(issuer.ClockSkew)
		if err != nil {
			faults = append(faults, fmt.Errorf(`issuers[%d].clockSkew: must be a duration like "5s"`, i))
		}
		service, err := issuer.TokenService.read()
		if err != nil {
			faults = append(faults, fmt.Errorf("issuers[%d].tokenService.%w", i, err))
		}
		b.Issuers = append(b.Issuers, Issuer{
			URL:          issuer.URL,
			Audiences:    issuer.Audiences,
			TokenType:    issuer.TokenType,
			Algorithms:   issuer.Algorithms,
			ClockSkew:    skew,
			Claims:       policy.ClaimDocument{Rules: issuer.ClaimRules, Mappings: issuer.ClaimMappings},
			Keys:         KeySet(issuer.Keys),
			Symmetric:    issuer.Symmetric,
			KeysFrom:     (*KeysFrom)(issuer.KeysFrom),
			Foreign:      (*Foreign)(issuer.Foreign),
			TokenService: service,
		})
	}
	if err := errors.Join(append(faults, b.check())...); err != nil {
		return nil, err
	}
	return b, nil
}

// Marshal writes a bundle that Parse takes, or says why there can be none. Equal bundles give equal bytes. The lines are indented because
// people read ConfigMaps.
func (b *Bundle) Marshal() ([]byte, error) {
	d := document{
		Version: version, Policy: b.Policy, Session: (*sessionDocument)(b.Session), TokenSources: b.TokenSources, CORS: b.CORS,
		AccessLog: b.AccessLog, Tracing: b.Tracing,
	}
	d.writeTraffic(b)
	for _, issuer := range b.Issuers {
		d.Issuers = append(d.Issuers, issuerDocument{
			URL:           issuer.URL,
			Audiences:     issuer.Audiences,
			TokenType:     issuer.TokenType,
			Algorithms:    issuer.Algorithms,
			ClockSkew:     issuer.ClockSkew.String(),
			ClaimRules:    issuer.Claims.Rules,
			ClaimMappings: issuer.Claims.Mappings,
			Keys:          json.RawMessage(issuer.Keys),
			Symmetric:     issuer.Symmetric,
			KeysFrom:      (*keysFromDocument)(issuer.KeysFrom),
			Foreign:       (*foreignDocument)(issuer.Foreign),
			TokenService:  issuer.TokenService.document(),
		})
	}

	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(d); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	// The reader is the judge: a writer with rules of its own would one day write what every sidecar refuses.
	if _, err := Parse(out.Bytes()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
