package policy

// Document is a policy as it is written down: what an AuthPolicy says about requests, in the words of an AuthPolicy. Compile checks it.
type Document struct {
	// Rules are tried in order; the first that matches decides.
	Rules []Rule `json:"rules,omitempty"`
	// Default decides requests that no rule matches: AccessDeny, which is also meant by "", or AccessAuthenticated.
	Default Access `json:"default,omitempty"`
	// Headers tell the app who calls. None means DefaultHeaders.
	Headers []Header `json:"headers,omitempty"`
	// KeepToken leaves the token in the request that the app sees.
	KeepToken bool `json:"keepToken,omitempty"`
	// Mode says whether refusals are carried out. "" means ModeEnforce.
	Mode Mode `json:"mode,omitempty"`
}

// Mode says whether refusals are carried out. It changes no decision.
type Mode string

const (
	// ModeEnforce refuses what the rules refuse.
	ModeEnforce Mode = "Enforce"
	// ModeAudit lets it pass and tells of it.
	ModeAudit Mode = "Audit"
)

// Rule decides the requests that it matches: those with one of its hosts, one of its paths and one of its methods.
type Rule struct {
	// Hosts are names as NormalizeHost returns them, or "*." and such a name, which stands for all names below it. None means every host.
	Hosts []string `json:"hosts,omitempty"`
	// Paths: none means every path.
	Paths []Path `json:"paths,omitempty"`
	// Methods are HTTP methods in capital letters; none means every method.
	Methods []string `json:"methods,omitempty"`
	// Access is what a matching request needs. "" means AccessAuthenticated.
	Access Access `json:"access,omitempty"`
	// Claims are all required of the token. Only with AccessAuthenticated.
	Claims []Requirement `json:"claims,omitempty"`
	// Scopes are all required of the token. Only with AccessAuthenticated.
	Scopes []string `json:"scopes,omitempty"`
	// Expression is required to be true: CEL over claims and request. Only with AccessAuthenticated.
	Expression string `json:"expression,omitempty"`
}

// Path matches the normalised path of a request. Exactly one of its fields is set.
type Path struct {
	// Exact matches this path alone.
	Exact string `json:"exact,omitempty"`
	// Prefix matches this path and all below it, by whole segments.
	Prefix string `json:"prefix,omitempty"`
	// Pattern matches segment by segment: "*" stands for one segment, whatever it is, and "/**" at the end for all below, as in a prefix.
	Pattern string `json:"pattern,omitempty"`
}

// Requirement asks that the claim be one of the strings AnyOf, or a list that has one of them.
type Requirement struct {
	// Claim is a claim's name, or a JSON Pointer: see claimAt.
	Claim string   `json:"claim"`
	AnyOf []string `json:"anyOf"`
}

// Header is an identity header: set from a claim of a verified token, and by nobody else.
type Header struct {
	Name string `json:"name"`
	// Claim is a claim's name, or a JSON Pointer: see claimAt.
	Claim string `json:"claim"`
}

// Access is what a request needs to pass.
type Access string

const (
	// AccessAnonymous lets everybody pass.
	AccessAnonymous Access = "Anonymous"
	// AccessAuthenticated lets pass whoever has a valid token with all that the rule requires.
	AccessAuthenticated Access = "Authenticated"
	// AccessDeny lets nobody pass.
	AccessDeny Access = "Deny"
)

// DefaultHeaders are the identity headers of a document that names none.
func DefaultHeaders() []Header {
	return []Header{{Name: "X-Auth-Subject", Claim: "sub"}, {Name: "X-Auth-Issuer", Claim: "iss"}}
}
