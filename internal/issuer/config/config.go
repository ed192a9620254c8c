// Package config owns the document config.json with which the manager tells a token service what to do. The manager writes it and the
// token service reads it, both through this package, so neither can misunderstand the other. It knows no keys, users or sessions.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/latchkey-dev/latchkey/internal/scope"
	"github.com/latchkey-dev/latchkey/internal/strictjson"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

const (
	// File is the name of the document in its ConfigMap.
	File = "config.json"

	// StoreURLFile is the name of the file that says where a shared store is, and StoreAuthorityFile that of the certificates, in PEM, of
	// the authorities that vouch for it.
	StoreURLFile       = "url"
	StoreAuthorityFile = "ca.crt"
)

// Bounds, the same as on the TokenIssuer type.
const (
	MinAccessTokenTTL   = 10 * time.Second
	MaxAccessTokenTTL   = time.Hour
	MinIdleLifetime     = time.Minute
	MaxAbsoluteLifetime = 366 * 24 * time.Hour
	MaxReuseWindow      = time.Minute
	MaxSessions         = 100
	MaxAudiences        = 16
	MaxScopes           = 16
)

// Delivery is how refresh tokens travel between clients and the token service. There is one way for all clients of a token service: with
// both, a thief could turn a cookie that scripts cannot read into a body that they can.
type Delivery string

const (
	// DeliverByCookie keeps them in an HttpOnly cookie, where scripts cannot read them: for browsers.
	DeliverByCookie Delivery = "Cookie"
	// DeliverInBody puts them into the bodies of requests and answers: for mobile apps and API clients, which have a safe place of their own.
	DeliverInBody Delivery = "Body"
)

// Config is what one token service is told. A Config that Parse returned or Marshal accepted is valid.
type Config struct {
	Issuer             string          // iss of every token
	Audiences          []string        // aud of every access token
	Scopes             []string        // scope of every access token, unless the user has their own
	AccessTokenTTL     time.Duration   // how long an access token is valid
	IdleLifetime       time.Duration   // a session that was not refreshed for this long is over
	AbsoluteLifetime   time.Duration   // a session is over this long after sign-in
	ReuseWindow        time.Duration   // how long the token before the current one is answered with the same successor
	Delivery           Delivery        // of refresh tokens
	MaxSessionsPerUser int             // how many devices a user may be signed in on
	OnLimit            OnLimit         // what happens to one sign-in more
	IPBinding          IPBinding       // what happens to a refresh from another network
	Login              Login           // how users prove who they are
	Tracing            *tracing.Config // where spans go; nil sends none
}

// document is a Config in JSON: version 1, durations as Go writes them ("5m0s").
type document struct {
	Version            int             `json:"version"`
	Issuer             string          `json:"issuer"`
	Audiences          []string        `json:"audiences"`
	Scopes             []string        `json:"scopes,omitempty"`
	AccessTokenTTL     string          `json:"accessTokenTTL"`
	IdleLifetime       string          `json:"idleLifetime"`
	AbsoluteLifetime   string          `json:"absoluteLifetime"`
	ReuseWindow        string          `json:"reuseWindow"`
	Delivery           Delivery        `json:"delivery"`
	MaxSessionsPerUser int             `json:"maxSessionsPerUser"`
	OnLimit            OnLimit         `json:"onLimit"`
	IPBinding          IPBinding       `json:"ipBinding"`
	Login              loginDocument   `json:"login"`
	Tracing            *tracing.Config `json:"tracing,omitempty"`
}

// Parse reads a document. The error lists every fault with its path; nothing is defaulted, for the manager has filled everything in.
func Parse(data []byte) (*Config, error) {
	var d document
	if err := strictjson.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	var faults []error
	duration := func(path, text string) time.Duration {
		value, err := time.ParseDuration(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: must be a duration like \"5m\", not %.40q", path, text))
		}
		return value
	}
	c := &Config{
		Issuer:             d.Issuer,
		Audiences:          d.Audiences,
		Scopes:             d.Scopes,
		AccessTokenTTL:     duration("accessTokenTTL", d.AccessTokenTTL),
		IdleLifetime:       duration("idleLifetime", d.IdleLifetime),
		AbsoluteLifetime:   duration("absoluteLifetime", d.AbsoluteLifetime),
		ReuseWindow:        duration("reuseWindow", d.ReuseWindow),
		Delivery:           d.Delivery,
		MaxSessionsPerUser: d.MaxSessionsPerUser,
		OnLimit:            d.OnLimit,
		IPBinding:          d.IPBinding,
		Login:              Login{Users: d.Login.Users, Backends: d.Login.Backends},
		Tracing:            d.Tracing,
	}
	if hook := d.Login.Webhook; hook != nil {
		c.Login.Webhook = &Webhook{URL: hook.URL, CertificateAuthority: hook.CertificateAuthority, Timeout: duration("login.webhook.timeout", hook.Timeout)}
	}
	if d.Version != 1 {
		faults = append(faults, fmt.Errorf("version: must be 1, not %d", d.Version))
	}
	if len(faults) == 0 {
		faults = c.faults()
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return c, nil
}

// Marshal writes the document that Parse reads; equal Configs give equal bytes. It refuses what Parse would refuse.
func (c *Config) Marshal() ([]byte, error) {
	if err := errors.Join(c.faults()...); err != nil {
		return nil, err
	}
	login := loginDocument{Users: c.Login.Users, Backends: c.Login.Backends}
	if hook := c.Login.Webhook; hook != nil {
		login.Webhook = &webhookDocument{URL: hook.URL, CertificateAuthority: hook.CertificateAuthority, Timeout: hook.Timeout.String()}
	}
	data, err := json.MarshalIndent(document{
		Version:            1,
		Issuer:             c.Issuer,
		Audiences:          c.Audiences,
		Scopes:             c.Scopes,
		AccessTokenTTL:     c.AccessTokenTTL.String(),
		IdleLifetime:       c.IdleLifetime.String(),
		AbsoluteLifetime:   c.AbsoluteLifetime.String(),
		ReuseWindow:        c.ReuseWindow.String(),
		Delivery:           c.Delivery,
		MaxSessionsPerUser: c.MaxSessionsPerUser,
		OnLimit:            c.OnLimit,
		IPBinding:          c.IPBinding,
		Login:              login,
		Tracing:            c.Tracing,
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

var issuerPattern = regexp.MustCompile(`^https?://[^?#\s]*[^/?#\s]$`)

func (c *Config) faults() []error {
	var faults []error
	refuse := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	issuer, err := url.Parse(c.Issuer)
	refuse(err == nil && issuer.Host != "" && issuer.User == nil && issuerPattern.MatchString(c.Issuer) && len(c.Issuer) <= 512,
		"issuer: must be an http or https URL of at most 512 characters without user, query, fragment or trailing slash")
	refuse(len(c.Audiences) >= 1 && len(c.Audiences) <= MaxAudiences, "audiences: must be 1 to %d, not %d", MaxAudiences, len(c.Audiences))
	for i, audience := range c.Audiences {
		refuse(audience != "" && len(audience) <= 256, "audiences[%d]: must have 1 to 256 characters", i)
		refuse(!slices.Contains(c.Audiences[:i], audience), "audiences[%d]: given twice", i)
	}
	refuse(len(c.Scopes) <= MaxScopes, "scopes: must be at most %d, not %d", MaxScopes, len(c.Scopes))
	for i, each := range c.Scopes {
		refuse(scope.Valid(each), "scopes[%d]: must be one scope: 1 to %d visible ASCII characters, without a quotation mark or backslash", i, scope.MaxLength)
		refuse(!slices.Contains(c.Scopes[:i], each), "scopes[%d]: given twice", i)
	}
	refuse(c.AccessTokenTTL >= MinAccessTokenTTL && c.AccessTokenTTL <= MaxAccessTokenTTL,
		"accessTokenTTL: must be between %s and %s, not %s", MinAccessTokenTTL, MaxAccessTokenTTL, c.AccessTokenTTL)
	refuse(c.IdleLifetime >= MinIdleLifetime, "idleLifetime: must be at least %s, not %s", MinIdleLifetime, c.IdleLifetime)
	refuse(c.IdleLifetime > c.AccessTokenTTL, "idleLifetime: must be longer than accessTokenTTL (%s), not %s", c.AccessTokenTTL, c.IdleLifetime)
	refuse(c.AbsoluteLifetime >= c.IdleLifetime && c.AbsoluteLifetime <= MaxAbsoluteLifetime,
		"absoluteLifetime: must be between idleLifetime (%s) and %s, not %s", c.IdleLifetime, MaxAbsoluteLifetime, c.AbsoluteLifetime)
	refuse(c.ReuseWindow >= 0 && c.ReuseWindow <= MaxReuseWindow, "reuseWindow: must be between 0s and %s, not %s", MaxReuseWindow, c.ReuseWindow)
	refuse(c.Delivery == DeliverByCookie || c.Delivery == DeliverInBody, "delivery: must be %s or %s, not %.40q", DeliverByCookie, DeliverInBody, c.Delivery)
	refuse(c.MaxSessionsPerUser >= 1 && c.MaxSessionsPerUser <= MaxSessions,
		"maxSessionsPerUser: must be between 1 and %d, not %d", MaxSessions, c.MaxSessionsPerUser)
	refuse(c.OnLimit == EndOldest || c.OnLimit == Refuse, "onLimit: must be %s or %s, not %.40q", EndOldest, Refuse, c.OnLimit)
	refuse(c.IPBinding == IPBindingOff || c.IPBinding == IPBindingLog || c.IPBinding == IPBindingReauthenticate,
		"ipBinding: must be %s, %s or %s, not %.40q", IPBindingOff, IPBindingLog, IPBindingReauthenticate, c.IPBinding)
	if c.Tracing != nil {
		c.Tracing.Check(func(path, problem string) { refuse(false, "tracing.%s: %s", path, problem) })
	}
	return append(faults, c.Login.faults()...)
}
