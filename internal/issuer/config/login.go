package config

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"time"
)

// OnLimit is what happens to one sign-in more than a user may have.
type OnLimit string

const (
	// EndOldest ends the session that began first.
	EndOldest OnLimit = "EndOldest"
	// Refuse refuses the sign-in.
	Refuse OnLimit = "Refuse"
)

// IPBinding is what happens when a session is refreshed from another network than before.
type IPBinding string

const (
	// IPBindingOff does nothing.
	IPBindingOff IPBinding = "Off"
	// IPBindingLog tells of it.
	IPBindingLog IPBinding = "Log"
	// IPBindingReauthenticate ends the session.
	IPBindingReauthenticate IPBinding = "Reauthenticate"
)

// MaxWebhookTimeout bounds how long a sign-in waits for a webhook.
const MaxWebhookTimeout = 10 * time.Second

// Login is how users prove who they are. Users and Webhook exclude each other; there is at least one of the three.
type Login struct {
	Users    bool // by the passwords of users.yaml
	Webhook  *Webhook
	Backends *Backends
}

// Webhook is where the app is asked who signs in.
type Webhook struct {
	URL                  string
	CertificateAuthority string
	Timeout              time.Duration
}

// Backends are trusted to say who somebody is. They show a token of their ServiceAccount whose audience is the token service's issuer.
type Backends struct {
	Issuer   string          `json:"issuer"`   // of ServiceAccount tokens in this cluster
	Keys     json.RawMessage `json:"keys"`     // its JSON Web Key Set, public
	Subjects []string        `json:"subjects"` // system:serviceaccount:<namespace>:<name>
}

type loginDocument struct {
	Users    bool             `json:"users,omitempty"`
	Webhook  *webhookDocument `json:"webhook,omitempty"`
	Backends *Backends        `json:"backends,omitempty"`
}

type webhookDocument struct {
	URL                  string `json:"url"`
	CertificateAuthority string `json:"certificateAuthority,omitempty"`
	Timeout              string `json:"timeout"`
}

func (l Login) faults() []error {
	var faults []error
	refuse := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	refuse(l.Users || l.Webhook != nil || l.Backends != nil, "login: nobody could sign in: one of users, webhook and backends must be there")
	refuse(!l.Users || l.Webhook == nil, "login.webhook: users is there as well, and one of them knows the users")
	if hook := l.Webhook; hook != nil {
		at, err := url.Parse(hook.URL)
		refuse(err == nil && at.Scheme == "https" && at.Host != "" && at.User == nil && at.Fragment == "",
			"login.webhook.url: must be an https URL without user and fragment")
		refuse(hook.CertificateAuthority == "" || x509.NewCertPool().AppendCertsFromPEM([]byte(hook.CertificateAuthority)),
			"login.webhook.certificateAuthority: holds no PEM certificate")
		refuse(hook.Timeout > 0 && hook.Timeout <= MaxWebhookTimeout, "login.webhook.timeout: must be more than nothing and at most %s, not %s", MaxWebhookTimeout, hook.Timeout)
	}
	if backends := l.Backends; backends != nil {
		refuse(backends.Issuer != "", "login.backends.issuer: is missing")
		refuse(json.Valid(backends.Keys), "login.backends.keys: must be a JSON Web Key Set")
		refuse(len(backends.Subjects) > 0, "login.backends.subjects: is missing")
	}
	return faults
}
