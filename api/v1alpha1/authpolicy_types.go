package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AuthPolicySpec says which pods it governs, whose tokens they take, and who may do what.
//
// +kubebuilder:validation:XValidation:rule="!has(self.session) || (has(self.issuers) && self.issuers.exists(i, has(i.keys.tokenIssuerRef) && i.keys.tokenIssuerRef.name == self.session.tokenIssuerRef.name))",message="session must name a TokenIssuer that issuers names as well: otherwise its tokens would be refused",fieldPath=".session"
// +kubebuilder:validation:XValidation:rule="has(self.issuers) || (self.default == 'Deny' && has(self.rules) && self.rules.all(r, r.access != 'Authenticated'))",message="name at least one issuer: without one no token can ever be valid",fieldPath=".issuers"
type AuthPolicySpec struct {
	// selector chooses the pods of this namespace that the policy governs. An empty selector chooses all of them. Where several
	// policies select one pod, the oldest governs it and the others say Conflicted. Pods are governed from their creation, and stay with the
	// policy that they were created under: they must also ask for the sidecar, by the label auth.latchkey.dev/inject=enabled on the pod or
	// its namespace.
	// +required
	Selector metav1.LabelSelector `json:"selector"` // sent even when it is empty: that means all pods

	// ports are the TCP ports on which the app serves HTTP, 1 to 8 of them, from 1 to 65535 but for 15020 to 15029, which are the sidecar's own. Who calls
	// one of them from outside the pod gets to the sidecar. Ports that are not listed, and UDP, are not protected.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	// +kubebuilder:validation:XValidation:rule="self.all(p, p < 15020 || p > 15029)",message="ports 15020 to 15029 are the sidecar's own; move the app to another"
	// +listType=set
	// +required
	Ports []int32 `json:"ports,omitempty"`

	// interception says how callers of ports get to the sidecar instead of the app: Auto (the default), Redirect or Loopback. Redirect: the pod's kernel
	// brings them, and the app may listen where it likes; the pod gets an init container with the capability NET_ADMIN, which its namespace must admit. Loopback: the
	// sidecar takes the ports on every address of the pod but loopback, and the app must listen on 127.0.0.1 or ::1; one that listens on 0.0.0.0
	// fails to start. Auto: Redirect where the namespace admits it, else Loopback. A change is for pods that are created from then on.
	// +kubebuilder:validation:Enum=Auto;Redirect;Loopback
	// +kubebuilder:default=Auto
	// +optional
	Interception Interception `json:"interception,omitempty"`

	// issuers are those whose tokens are taken, at most 32, each with another url.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Issuers []PolicyIssuer `json:"issuers,omitempty"`

	// rules are tried in order; the first that matches the request decides. At most 256. A request that none matches falls to default.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +optional
	Rules []PolicyRule `json:"rules,omitempty"`

	// default is what happens to a request that no rule matches: Deny (the default) or Authenticated.
	// +kubebuilder:default=Deny
	// +optional
	Default DefaultAccess `json:"default,omitempty"`

	// tokenSources are the places where a request may carry its token, 1 to 8. Default: the Authorization header alone. A request with two
	// tokens, or with one of these places twice, is answered 400, in whatever spelling: neither case nor punctuation of names makes a difference.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	TokenSources []TokenSource `json:"tokenSources,omitempty"`

	// mode says whether refusals are carried out: Enforce (the default) or Audit. With Audit, whatever would be answered 401 or 403 goes on to the
	// app, and is counted and recorded instead. Without a valid token the app then sees no identity headers, as ever, and a token that is not valid
	// it does not see. Requests that are ambiguous are refused in either mode, and the routes of session stay as they are.
	// +kubebuilder:default=Enforce
	// +optional
	Mode PolicyMode `json:"mode,omitempty"`

	// forward says what the app gets to know about the caller.
	// +optional
	Forward Forward `json:"forward,omitempty,omitzero"`

	// cors says what pages of other origins may do (the Fetch standard's CORS protocol). Set: the sidecar answers preflights before any rule is asked, and
	// says on every answer, its own and the app's, who may read it, in place of what the app says about it. Unset: it adds nothing, and an
	// OPTIONS request is judged like any other.
	// +optional
	CORS *CORS `json:"cors,omitempty"`

	// accessLog says of which requests the sidecar writes a line, as JSON on its standard error: Off (none), Denied (the default: those that it
	// answers in the app's place), or All. A line has no token, cookie, query or subject. Lines that its reader is too slow for are dropped and
	// counted.
	// +kubebuilder:validation:Enum=Off;Denied;All
	// +kubebuilder:default=Denied
	// +optional
	AccessLog AccessLog `json:"accessLog,omitempty"`

	// tracing sends spans of requests to a collector. Unset: none are made, and the trace context of a request (traceparent, tracestate) reaches
	// the app as it came.
	// +optional
	Tracing *Tracing `json:"tracing,omitempty"`

	// session offers sign-in, refresh and sign-out of a TokenIssuer on the app's own origin.
	// +optional
	Session *PolicySession `json:"session,omitempty"`

	// tls makes the sidecar speak TLS 1.2 and 1.3, with HTTP/2 by ALPN, on all of ports. Default: plain HTTP, with HTTP/2 by prior knowledge.
	// +optional
	TLS *ServingTLS `json:"tls,omitempty"`

	// upstream says how the sidecar calls the app.
	// +optional
	Upstream Upstream `json:"upstream,omitempty,omitzero"`

	// limits bound what callers can take up in each pod. A change is for connections and requests to come.
	// +optional
	Limits Limits `json:"limits,omitempty,omitzero"`

	// revocation says what becomes of tokens while nobody knows which were revoked.
	// +optional
	Revocation PolicyRevocation `json:"revocation,omitempty,omitzero"`
}

// PolicyIssuer is one issuer whose tokens are taken.
//
// +kubebuilder:validation:XValidation:rule="has(self.url) != has(self.keys.tokenIssuerRef)",message="set url, unless keys.tokenIssuerRef is set: then the url is the TokenIssuer's",fieldPath=".url"
type PolicyIssuer struct {
	// url is the issuer's identifier: tokens must carry exactly this in iss (RFC 7519). Required, except with keys.tokenIssuerRef, where it
	// is the TokenIssuer's and must not be set.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	URL string `json:"url,omitempty"`

	// audiences of which a token must name at least one in aud. 1 to 16.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	// +required
	Audiences []string `json:"audiences,omitempty"`

	// tokenType pins the token's typ header, such as "at+jwt" (RFC 9068). Unset: any typ, or none. Pin it whenever the issuer also
	// hands out other tokens with the same keys, such as ID tokens. With keys.tokenIssuerRef it is always at+jwt.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	TokenType string `json:"tokenType,omitempty"`

	// algorithms narrows the signature algorithms that are taken. Unset: those of the issuer's keys. Never those of the token.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	Algorithms []SigningAlgorithm `json:"algorithms,omitempty"`

	// clockSkew is how far this issuer's clock and ours may differ when exp, nbf and iat are judged, 0s to 1m. Default: 5s.
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1m')",message="must be between 0s and 1m"
	// +optional
	ClockSkew *metav1.Duration `json:"clockSkew,omitempty"`

	// keys says where the issuer's public keys come from.
	// +required
	Keys KeySource `json:"keys,omitempty,omitzero"`

	// claimValidationRules must all be met by a token of this issuer: otherwise it is not valid, 401. At most 16. They see the token's own claims.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	ClaimValidationRules []ClaimValidationRule `json:"claimValidationRules,omitempty"`

	// claimMappings set claims for rules and forward.headers, so that these are written once for issuers that name things differently. At most
	// 16, each with another name. They see the token's own claims, never each other's.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	ClaimMappings []ClaimMapping `json:"claimMappings,omitempty"`
}

// ClaimValidationRule is something that a token must say: claim and requiredValue, or expression.
//
// +kubebuilder:validation:XValidation:rule="has(self.claim) != has(self.expression)",message="set exactly one of claim and expression"
// +kubebuilder:validation:XValidation:rule="has(self.claim) == has(self.requiredValue)",message="requiredValue goes with claim, and claim with requiredValue",fieldPath=".requiredValue"
type ClaimValidationRule struct {
	// claim is the name of a claim, or a JSON Pointer such as /realm_access/tenant: see rules[].claims[].claim. Excludes expression.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Claim string `json:"claim,omitempty"`

	// requiredValue is the string that the claim must be. Required with claim.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	RequiredValue string `json:"requiredValue,omitempty"`

	// expression is CEL over claims that must be true, such as "claims.email_verified == true". An error counts as false. Up to 2048 characters.
	// Excludes claim.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Expression string `json:"expression,omitempty"`

	// message says in the sidecar's record of decisions why the token was refused. Callers never see it. Up to 256 characters.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Message string `json:"message,omitempty"`
}

// ClaimMapping sets one top-level claim from another one, or from an expression.
//
// +kubebuilder:validation:XValidation:rule="has(self.claim) != has(self.expression)",message="set exactly one of claim and expression"
type ClaimMapping struct {
	// name of the claim that is set, in place of the token's own of that name. 1 to 256 characters, not beginning with "/". None of iss, sub, aud, exp,
	// nbf, iat, jti, sid, cnf and client_id: these stay as they were verified.
	// +kubebuilder:validation:Pattern=`^[^/]`
	// +kubebuilder:validation:MaxLength=256
	// +required
	Name string `json:"name,omitempty"`

	// claim is the name of a claim, or a JSON Pointer such as /realm_access/roles: see rules[].claims[].claim. Where the token has none, the claim
	// name is absent. Excludes expression.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Claim string `json:"claim,omitempty"`

	// expression is CEL over claims whose value the claim gets, such as "claims.groups.map(g, 'corp:' + g)"; null means none. A token for which it has
	// an error is not valid. Up to 2048 characters. Excludes claim.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Expression string `json:"expression,omitempty"`
}

// KeySource is where an issuer's public keys come from: exactly one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.tokenIssuerRef), has(self.signingKeyRef), has(self.inline), has(self.jwksURI), has(self.discoveryURL)].filter(x, x).size() == 1",message="set exactly one of tokenIssuerRef, signingKeyRef, inline, jwksURI and discoveryURL"
// +kubebuilder:validation:XValidation:rule="!has(self.certificateAuthority) || has(self.jwksURI) || has(self.discoveryURL)",message="certificateAuthority goes with jwksURI or discoveryURL only",fieldPath=".certificateAuthority"
type KeySource struct {
	// tokenIssuerRef names a TokenIssuer in this namespace: its keys are used, and its revocations are followed.
	// +optional
	TokenIssuerRef *ObjectRef `json:"tokenIssuerRef,omitempty"`

	// signingKeyRef names a SigningKey, for tokens that your own server signs: one of this namespace, or one of another whose
	// allowedNamespaces include this one.
	// +optional
	SigningKeyRef *SigningKeyRef `json:"signingKeyRef,omitempty"`

	// inline is a JSON Web Key Set (RFC 7517) with public keys only, up to 64 kB.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +optional
	Inline string `json:"inline,omitempty"`

	// jwksURI is the https URL, up to 512 characters, of the JSON Web Key Set that the issuer publishes. The manager fetches it again and again, as
	// often as its Cache-Control says, but at least once an hour and at most once a minute; redirects are not followed, and link-local, loopback and
	// metadata addresses are never dialled. While it cannot be fetched the last good set stays.
	// +kubebuilder:validation:Pattern=`^https://[A-Za-z0-9.:\[\]-]+([/?][^#\s]*)?$`
	// +kubebuilder:validation:MaxLength=512
	// +optional
	JWKSURI string `json:"jwksURI,omitempty"`

	// discoveryURL is the https URL, up to 512 characters, of the issuer's document of OpenID Connect Discovery or RFC 8414, such as
	// https://idp.example.com/.well-known/openid-configuration. Its issuer must be exactly url; its jwks_uri is then fetched as jwksURI would be.
	// +kubebuilder:validation:Pattern=`^https://[A-Za-z0-9.:\[\]-]+([/?][^#\s]*)?$`
	// +kubebuilder:validation:MaxLength=512
	// +optional
	DiscoveryURL string `json:"discoveryURL,omitempty"`

	// certificateAuthority holds the PEM certificates, up to 32 kB, of the authorities that the certificates behind jwksURI or discoveryURL must lead
	// to. Only with one of these two. Unset: those that the system trusts.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	// +optional
	CertificateAuthority string `json:"certificateAuthority,omitempty"`
}

// SigningKeyRef names a SigningKey whose public half is used.
type SigningKeyRef struct {
	// name of the SigningKey.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +required
	Name string `json:"name,omitempty"`

	// namespace of the SigningKey. Default: the AuthPolicy's own. With another, its spec.allowedNamespaces must include the AuthPolicy's, and its
	// algorithm must not be an HS one; otherwise the reference is RefNotPermitted, whether there is such a SigningKey or not.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// ObjectRef names an object in the same namespace.
type ObjectRef struct {
	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +required
	Name string `json:"name,omitempty"`
}

// Access is what a request needs to pass.
//
// +kubebuilder:validation:Enum=Anonymous;Authenticated;Deny
type Access string

const (
	// AccessAnonymous lets everybody pass. A valid token still identifies the caller to the app.
	AccessAnonymous Access = "Anonymous"
	// AccessAuthenticated lets pass whoever has a valid token that meets the rule's claims.
	AccessAuthenticated Access = "Authenticated"
	// AccessDeny lets nobody pass.
	AccessDeny Access = "Deny"
)

// DefaultAccess is what a request needs to pass that no rule matches.
//
// +kubebuilder:validation:Enum=Authenticated;Deny
type DefaultAccess string

const (
	// DefaultDeny lets nobody pass.
	DefaultDeny DefaultAccess = "Deny"
	// DefaultAuthenticated lets pass whoever has a valid token.
	DefaultAuthenticated DefaultAccess = "Authenticated"
)

// PolicyMode says whether refusals are carried out.
//
// +kubebuilder:validation:Enum=Enforce;Audit
type PolicyMode string

const (
	// ModeEnforce refuses what the rules refuse.
	ModeEnforce PolicyMode = "Enforce"
	// ModeAudit lets it pass, and tells of it.
	ModeAudit PolicyMode = "Audit"
)

// PolicyRule decides the requests that it matches: those with one of its hosts, one of its paths and one of its methods. What they need is access,
// and then all of claims, scopes and expression.
//
// +kubebuilder:validation:XValidation:rule="self.access == 'Authenticated' || !(has(self.claims) || has(self.scopes) || has(self.expression))",message="claims, scopes and expression go with access: Authenticated only",fieldPath=".access"
type PolicyRule struct {
	// hosts of which one must be the request's: an exact name, or "*." and a name for all names below it, one label or more. At most 16. Compared in
	// small letters, without port and a dot at the end. Unset: every host. Callers choose the host, so let no host be laxer than a request without
	// a rule: keep default: Deny.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$`
	// +listType=set
	// +optional
	Hosts []string `json:"hosts,omitempty"`

	// paths of which at least one must match the request's. At most 32. Unset: every path, so a misspelt name of this field must not go
	// unnoticed: kubectl apply refuses fields that it does not know, while kubectl patch only warns of them and leaves them out.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Paths []PathMatch `json:"paths,omitempty"`

	// methods that the rule matches, in capital letters. Unset: every method. GET does not include HEAD. CONNECT is refused everywhere.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:Pattern=`^[A-Z][A-Z-]*$`
	// +kubebuilder:validation:items:XValidation:rule="self != 'CONNECT'",message="no rule can allow CONNECT: it asks for a tunnel, in which nothing would be judged"
	// +listType=set
	// +optional
	Methods []string `json:"methods,omitempty"`

	// access is what a matching request needs: Anonymous (nothing), Authenticated (a valid token; the default), or Deny.
	// +kubebuilder:default=Authenticated
	// +optional
	Access Access `json:"access,omitempty"`

	// claims are all required of the token. Only with access: Authenticated. A token without them is answered 403.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Claims []ClaimRequirement `json:"claims,omitempty"`

	// scopes are all required of the token, in its claim scope (a string with spaces, RFC 8693, or a list) or scp. Only with access: Authenticated. A token
	// without them is answered 403, and told which are required (RFC 6750). At most 16.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[!#-\[\]-~]+$`
	// +listType=set
	// +optional
	Scopes []string `json:"scopes,omitempty"`

	// expression is CEL over claims and request that must be true, after claims and scopes are met. Only with access: Authenticated. If it is false
	// or has an error, the answer is 403. Variables: claims, request.method, request.host, request.path, request.query and request.headers (each a map
	// of name to list; header names in small letters; without credentials and forwarding headers). Up to 2048 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Expression string `json:"expression,omitempty"`
}

// PathMatch matches the path of a request, after it was normalised. Exactly one of its fields is set.
//
// Case and a slash at the end count. But many apps serve /Admin and /admin/ as /admin, so a request passes only if the rules also let
// it pass with ASCII letters in lower case, without the slash at its end, and with both, the paths of rules written alike. This makes
// decisions stricter, never laxer. Other spellings that an app takes for the same are not covered, such as /admin.json (Rails) or
// letters beyond ASCII in another case: name them in rules, or keep default: Deny.
//
// +kubebuilder:validation:XValidation:rule="[has(self.exact), has(self.prefix), has(self.pattern)].filter(x, x).size() == 1",message="set exactly one of exact, prefix and pattern"
type PathMatch struct {
	// exact matches this path only. It must start with "/" and be written as it is after normalisation: no "//", "." or "..".
	// +kubebuilder:validation:Pattern=`^/`
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.contains('//') && !self.contains(';')",message="no request can have such a path: those with // or ; are refused before any rule is asked"
	// +kubebuilder:validation:XValidation:rule="!(self + '/').contains('/./') && !(self + '/').contains('/../')",message="no request can have such a path: those with a . or .. segment are refused before any rule is asked"
	// +optional
	Exact string `json:"exact,omitempty"`

	// prefix matches this path and everything below it, by whole segments: "/admin" matches "/admin" and "/admin/users", not
	// "/administrator".
	// +kubebuilder:validation:Pattern=`^/`
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.contains('//') && !self.contains(';')",message="no request can have such a path: those with // or ; are refused before any rule is asked"
	// +kubebuilder:validation:XValidation:rule="!(self + '/').contains('/./') && !(self + '/').contains('/../')",message="no request can have such a path: those with a . or .. segment are refused before any rule is asked"
	// +kubebuilder:validation:XValidation:rule="self == '/' || !self.endsWith('/')",message="must not end with /: a prefix matches its own path and everything below it, by whole segments"
	// +optional
	Prefix string `json:"prefix,omitempty"`

	// pattern matches segment by segment: "*" stands for one whole segment that is not empty, and "/**" at the end for the path before it and
	// everything below, as in a prefix. "/users/*/orders" matches "/users/7/orders"; "/users/*/files/**" matches "/users/7/files" and
	// "/users/7/files/a/b". It has at least one "*", and none within a segment.
	// +kubebuilder:validation:Pattern=`^(/([^*/;]+|\*))*(/|/\*\*)?$`
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Pattern string `json:"pattern,omitempty"`
}

// ClaimRequirement requires one claim of a token to have one of some values.
type ClaimRequirement struct {
	// claim is the name of a top-level claim, such as "roles" or "https://example.com/roles", or, where it begins with "/", a JSON Pointer (RFC 6901) such
	// as "/realm_access/roles". 1 to 256 characters.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +required
	Claim string `json:"claim,omitempty"`

	// anyOf lists strings: the claim must be one of them, or be a list that has at least one of them. 1 to 64.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	// +required
	AnyOf []string `json:"anyOf,omitempty"`
}

// TokenSource is a place in a request. Exactly one of its fields is set.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type TokenSource struct {
	// header is the name of a request header. In Authorization the token follows the scheme Bearer (RFC 6750); any other header holds the
	// token alone. Identity headers and headers that HTTP, proxies or browsers give a meaning of their own are refused.
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9-]*$`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Header string `json:"header,omitempty"`

	// cookie is the name of a cookie. Browsers send it whoever asks them to, so a token from it counts for nothing in a request that another
	// origin may have caused: with a method other than GET, HEAD and OPTIONS, or a WebSocket handshake, from a page that is neither of the app's
	// own origin nor of one in cors.allowOrigins with allowCredentials. Where a token is needed, such a request is answered 403.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Cookie string `json:"cookie,omitempty"`

	// query is the name of a query parameter. Avoid it: URLs end up in logs, histories and Referer headers, and so would tokens. A policy that
	// has it says so in its Accepted condition.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Query string `json:"query,omitempty"`

	// webSocketProtocol is a name in Sec-WebSocket-Protocol, such as "bearer": the token is the protocol offered right after it. The app sees
	// the other protocols; where it chooses none of them, this name is chosen in the answer, as browsers want one.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	WebSocketProtocol string `json:"webSocketProtocol,omitempty"`
}

// AccessLog says of which requests there is a line in the log.
type AccessLog string

const (
	// AccessLogOff writes none.
	AccessLogOff AccessLog = "Off"
	// AccessLogDenied writes one for each request that is answered in the app's place.
	AccessLogDenied AccessLog = "Denied"
	// AccessLogAll writes one for each request.
	AccessLogAll AccessLog = "All"
)

// Tracing sends spans to a collector.
type Tracing struct {
	// endpoint is the base URL of a collector that takes OTLP over HTTP, in JSON: spans are posted to <endpoint>/v1/traces. It must be
	// reached from the pods, as http://collector.observability:4318 is.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[^/?#@\s]+(/[^?#\s]*)?$`
	// +required
	Endpoint string `json:"endpoint,omitempty"`

	// samplingPercent is how many of the traces that begin here are recorded, 0 to 100. Default: 10. A caller that brings a trace
	// context has decided already: its traces are recorded if it says so.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=10
	// +optional
	SamplingPercent *int32 `json:"samplingPercent,omitempty"`
}

// CORS says what pages of other origins may do.
type CORS struct {
	// allowOrigins lists origins exactly as browsers spell them: scheme and host in small letters, the port unless it is the scheme's, nothing
	// more, such as https://shop.example. 1 to 64. Or "*" alone, for every origin, not with allowCredentials. The origin null is never allowed.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^(\*|[a-z][a-z0-9+.-]*://[^/*?#@ ]+)$`
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	// +required
	AllowOrigins []string `json:"allowOrigins,omitempty"`

	// allowMethods may be used beside GET, HEAD and POST, which browsers always allow. At most 16.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^[A-Z][A-Z-]*$`
	// +kubebuilder:validation:items:MaxLength=32
	// +listType=set
	// +optional
	AllowMethods []string `json:"allowMethods,omitempty"`

	// allowHeaders may be sent beside those that browsers always allow. Authorization and Content-Type for JSON are not among these. At most
	// 64.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9][A-Za-z0-9_-]*$`
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	AllowHeaders []string `json:"allowHeaders,omitempty"`

	// exposeHeaders of answers may be read beside those that browsers always show. At most 64.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9][A-Za-z0-9_-]*$`
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	ExposeHeaders []string `json:"exposeHeaders,omitempty"`

	// allowCredentials lets pages of these origins act with the user's cookies, session routes included. Default: false.
	// +optional
	AllowCredentials bool `json:"allowCredentials,omitempty"` //nolint:kubeapilinter // the Fetch standard has two values for it, and no third to come

	// maxAge is how long browsers may keep the answer to a preflight, 0s to 24h. Default: unset, which leaves it to them.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="must be between 0s and 24h"
	// +optional
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
}

// Forward says what the app gets to know about the caller. Each header named here is removed from every request first, whoever
// sent it, then set from the verified token.
type Forward struct {
	// headers are set from claims. Default: X-Auth-Subject from sub, X-Auth-Issuer from iss. At most 32; a claim that the token
	// does not have sets no header; a list is joined by commas.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	// +optional
	Headers []ClaimHeader `json:"headers,omitempty"`

	// token says what becomes of the bearer token: Drop (the default) takes the token out of the request before the app sees it; Keep leaves it in.
	// +kubebuilder:validation:Enum=Drop;Keep
	// +kubebuilder:default=Drop
	// +optional
	Token TokenForwarding `json:"token,omitempty"`
}

// TokenForwarding says whether the app sees the token.
type TokenForwarding string

const (
	// TokenDrop takes the token out of the request.
	TokenDrop TokenForwarding = "Drop"
	// TokenKeep leaves the token in the request.
	TokenKeep TokenForwarding = "Keep"
)

// ClaimHeader sets one request header from one claim.
type ClaimHeader struct {
	// name of the header, such as "X-Auth-Roles". Headers that steer HTTP itself (Host, Connection, Content-Length, ...) are refused.
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9-]*$`
	// +kubebuilder:validation:MaxLength=64
	// +required
	Name string `json:"name,omitempty"`

	// claim is the name of a top-level claim, or a JSON Pointer such as /realm_access/roles: see rules[].claims[].claim.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +required
	Claim string `json:"claim,omitempty"`
}

// PolicySession offers a TokenIssuer's endpoints on the app's own origin.
type PolicySession struct {
	// tokenIssuerRef names a TokenIssuer in this namespace.
	// +required
	TokenIssuerRef ObjectRef `json:"tokenIssuerRef,omitempty,omitzero"`
	// pathPrefix is where the endpoints are offered: <pathPrefix>/login, /refresh and /logout. The app never sees requests below it.
	// Default: /auth.
	// +kubebuilder:default="/auth"
	// +kubebuilder:validation:Pattern=`^(/[a-z0-9-]+)+$`
	// +kubebuilder:validation:MaxLength=64
	// +optional
	PathPrefix string `json:"pathPrefix,omitempty"`

	// trustedProxies are the networks, in CIDR notation, of the proxies in front of the pods, such as those of your ingress. The address of a
	// client, which sign-ins are counted by and users see in their list of devices, is then the last one in X-Forwarded-For that is not
	// theirs. Unset: nobody's word is taken for it, and it is that of whoever called the pod. At most 32.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:items:Pattern=`^[0-9A-Fa-f.:]+/[0-9]{1,3}$`
	// +listType=set
	// +optional
	TrustedProxies []string `json:"trustedProxies,omitempty"`

	// serverRendered is for an app whose pages are rendered on a server and need no scripts: the sidecar keeps both tokens in HttpOnly cookies, renews
	// them on the way in, and takes sign-in and sign-out from plain forms. Such cookies travel with every request to the host, so all of the
	// host's paths must be behind Latchkey. Needs a TokenIssuer with refreshToken.delivery Cookie. Default: unset; scripts keep the access token.
	// +optional
	ServerRendered *ServerRendered `json:"serverRendered,omitempty"`
}

// ServerRendered keeps users of an app without scripts signed in.
type ServerRendered struct {
	// signInPath is the path of the app's own page with the sign-in form, such as /sign-in; a rule must allow it to everybody. Browsers that ask
	// for a page without being signed in are sent there, with the page they wanted in the parameter return; so are sign-ins that fail, with the
	// parameter reason. 1 to 256 characters, not below pathPrefix.
	// +kubebuilder:validation:Pattern=`^/([A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*)?$`
	// +kubebuilder:validation:MaxLength=256
	// +required
	SignInPath string `json:"signInPath,omitempty"`
}

// AuthPolicyStatus is what the manager last saw and did.
type AuthPolicyStatus struct {
	// conditions are Accepted (the policy compiles, its references are there, and no older policy takes its pods), Ready (its bundle is
	// written for the pods to read), WarningFree (nothing in it looks like a mistake), PodsProtected (every pod that it would govern has the
	// sidecar), SidecarsCurrent (each of these is of the manager's own version), where there are pods, Intercepted (how their
	// callers get to the sidecar, and what the app has to do for that) and, where keys are fetched, IssuersHealthy (the last fetch of
	// each key set succeeded, and nothing is wrong with any of its keys). Ready is False with the reason of Accepted while that is False, except for
	// Conflicted: the bundle of such a policy is written for the pods that it does govern.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// revision identifies the bundle that was last written; sidecars report the same on their admin port.
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Revision string `json:"revision,omitempty"`

	// pods is how many pods this policy governs: those that were created with its sidecar and have not ended.
	// +optional
	Pods int32 `json:"pods"`

	// podsInStep is how many of pods say that they have applied revision.
	// +optional
	PodsInStep int32 `json:"podsInStep"`

	// podsBehind is how many of pods do not say so, or not yet: they are starting, or have rejected it.
	// +optional
	PodsBehind int32 `json:"podsBehind"`

	// podsOutdated is how many of pods have another version of the sidecar than the manager puts into new ones. They keep it until they are made anew.
	// +optional
	PodsOutdated int32 `json:"podsOutdated"`

	// podsMissing is how many pods ask for the sidecar, would be governed by this policy, and have none: they were created before Latchkey, or
	// while its webhook was away, and are not protected.
	// +optional
	PodsMissing int32 `json:"podsMissing"`
}

// AuthPolicy says whose tokens the pods it governs take, and who may do what. It is carried out by the sidecar in each pod.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ap,path=authpolicies,categories=latchkey
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Accepted Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].reason`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Ready Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Warning Free",type=string,JSONPath=`.status.conditions[?(@.type=="WarningFree")].status`
// +kubebuilder:printcolumn:name="Pods",type=integer,JSONPath=`.status.pods`
// +kubebuilder:printcolumn:name="In Step",type=integer,JSONPath=`.status.podsInStep`
// +kubebuilder:printcolumn:name="Behind",type=integer,JSONPath=`.status.podsBehind`
// +kubebuilder:printcolumn:name="Missing",type=integer,JSONPath=`.status.podsMissing`
// +kubebuilder:printcolumn:name="Outdated",type=integer,priority=1,JSONPath=`.status.podsOutdated`
// +kubebuilder:printcolumn:name="Revision",type=string,priority=1,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="the name must be at most 52 characters: the names of Secrets and ConfigMaps are made from it",fieldPath=".metadata"
type AuthPolicy struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which pods are governed, whose tokens they take, and who may do what.
	// +required
	Spec AuthPolicySpec `json:"spec,omitempty,omitzero"`

	// status is what the manager last saw and did.
	// +optional
	Status AuthPolicyStatus `json:"status,omitempty,omitzero"`
}

// AuthPolicyList is a list of AuthPolicies.
//
// +kubebuilder:object:root=true
type AuthPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the AuthPolicies.
	Items []AuthPolicy `json:"items"`
}
