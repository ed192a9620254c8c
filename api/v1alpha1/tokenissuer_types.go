package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TokenIssuerSpec says who is signed in, what tokens they get, and for how long.
//
// +kubebuilder:validation:XValidation:rule="duration(self.accessToken.ttl) < duration(self.refreshToken.idleLifetime)",message="accessToken.ttl must be shorter than refreshToken.idleLifetime: the refresh token is there to outlive the access token",fieldPath=".accessToken.ttl"
// +kubebuilder:validation:XValidation:rule="self.replicas <= 1 || !has(self.store.sqlite)",message="more than one replica needs a store that they can share: store.postgreSQL or store.redis",fieldPath=".replicas"
type TokenIssuerSpec struct {
	// issuer is the identifier that tokens carry in iss (RFC 7519): an https or http URL without query, fragment or trailing slash.
	// Once tokens are out, changing it makes every verifier refuse them.
	// +kubebuilder:validation:Pattern=`^https?://[^?#\s]*[^/?#\s]$`
	// +kubebuilder:validation:MaxLength=512
	// +required
	Issuer string `json:"issuer,omitempty"`

	// signingKeyRef names a SigningKey in this namespace. Its retain must be at least accessToken.ttl plus a minute.
	// +required
	SigningKeyRef ObjectRef `json:"signingKeyRef,omitempty,omitzero"`

	// accessToken shapes the tokens that apps receive.
	// +required
	AccessToken AccessToken `json:"accessToken,omitempty,omitzero"`

	// refreshToken says how long a session lasts.
	// +kubebuilder:default={}
	// +optional
	RefreshToken RefreshToken `json:"refreshToken,omitempty,omitzero"`

	// sessions limits what one user may have.
	// +kubebuilder:default={}
	// +optional
	Sessions Sessions `json:"sessions,omitempty,omitzero"`

	// login says how users prove who they are.
	// +required
	Login Login `json:"login,omitempty,omitzero"`

	// store is where sessions are kept; exactly one of its fields. Default: sqlite. Another store begins empty: everybody signs in again.
	// +kubebuilder:default={sqlite: {}}
	// +optional
	Store Store `json:"store,omitempty,omitzero"`

	// replicas is how many pods serve, 1 to 20. More than one needs a store that they can share: postgreSQL or redis. Default: 1.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=20
	// +optional
	Replicas int32 `json:"replicas,omitempty"`

	// tracing sends spans of requests to a collector. Unset: none are made. A trace context that comes with a sign-in reaches the webhook either way.
	// +optional
	Tracing *Tracing `json:"tracing,omitempty"`
}

// AccessToken shapes the access tokens: JWTs of type at+jwt (RFC 9068).
type AccessToken struct {
	// ttl is how long an access token is valid, between 10s and 1h. Default: 5m.
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$')",message="must be a duration in hours, minutes and seconds, such as 720h, 1h30m or 90s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('1h')",message="must be between 10s and 1h: keep it to minutes, the refresh token is what lasts"
	// +optional
	TTL metav1.Duration `json:"ttl,omitempty,omitzero"`

	// audiences go into aud: the names by which apps know that a token is meant for them. 1 to 16.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	// +required
	Audiences []string `json:"audiences,omitempty"`

	// scopes go into scope (RFC 9068): what every access token is good for, as scopes of an AuthPolicy's rules ask for it. A user whose entry in
	// users.yaml, whose webhook or whose backend says a claim scope has those instead, be they fewer, others or none. A client may ask for fewer when it
	// refreshes (RFC 6749, section 6). 1 to 16, each 1 to 128 visible ASCII characters without a quotation mark or backslash. Unset: none but what the user's say.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^[!#-\[\]-~]+$`
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=set
	// +optional
	Scopes []string `json:"scopes,omitempty"`
}

// RefreshToken says how long a session lasts. A refresh token is opaque, is used once, and is replaced at every refresh.
//
// +kubebuilder:validation:XValidation:rule="!has(self.idleLifetime) || !has(self.absoluteLifetime) || duration(self.idleLifetime) <= duration(self.absoluteLifetime)",message="idleLifetime must not be longer than absoluteLifetime",fieldPath=".idleLifetime"
type RefreshToken struct {
	// idleLifetime ends a session that was not refreshed for this long. Default: 168h (7 days).
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$')",message="must be a duration in hours, minutes and seconds, such as 720h, 1h30m or 90s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m')",message="must be at least 1m"
	// +optional
	IdleLifetime metav1.Duration `json:"idleLifetime,omitempty,omitzero"`

	// absoluteLifetime ends a session this long after sign-in, refreshed or not. Default: 720h (30 days).
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$')",message="must be a duration in hours, minutes and seconds, such as 720h, 1h30m or 90s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('8784h')",message="must be at most 8784h (366 days)"
	// +optional
	AbsoluteLifetime metav1.Duration `json:"absoluteLifetime,omitempty,omitzero"`

	// reuseWindow is how long the refresh token before the current one is answered with the same successor, so that parallel refreshes and
	// lost answers sign nobody out. A token that is older still ends the session. The current one is replaced at most once in half of it.
	// 0s replaces it each time and forgives nothing. At most 1m. Default: 10s.
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$')",message="must be a duration in hours, minutes and seconds, such as 720h, 1h30m or 90s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1m')",message="must be between 0s and 1m"
	// +optional
	ReuseWindow *metav1.Duration `json:"reuseWindow,omitempty"`

	// delivery is how refresh tokens travel: Cookie (the default) keeps them in an HttpOnly cookie that scripts cannot read, for browsers; Body
	// puts them into the bodies of requests and answers, for mobile apps and API clients. One TokenIssuer has one way; an app with both
	// kinds of client has two TokenIssuers.
	// +kubebuilder:default=Cookie
	// +optional
	Delivery RefreshTokenDelivery `json:"delivery,omitempty"`
}

// RefreshTokenDelivery is how refresh tokens travel.
//
// +kubebuilder:validation:Enum=Cookie;Body
type RefreshTokenDelivery string

const (
	// RefreshTokenByCookie keeps refresh tokens in an HttpOnly cookie.
	RefreshTokenByCookie RefreshTokenDelivery = "Cookie"
	// RefreshTokenInBody puts refresh tokens into the bodies of requests and answers.
	RefreshTokenInBody RefreshTokenDelivery = "Body"
)

// Sessions limits what one user may have.
type Sessions struct {
	// maxPerUser is how many devices a user may be signed in on, 1 to 100. One more sign-in ends the oldest session. Default: 5.
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	MaxPerUser int32 `json:"maxPerUser,omitempty"`

	// onLimit is what happens to one sign-in more than maxPerUser: EndOldest (the default) signs the user out on the device that signed in
	// first; Refuse turns the new one away, until the user ends a session or one runs out.
	// +kubebuilder:default=EndOldest
	// +optional
	OnLimit OnSessionLimit `json:"onLimit,omitempty"`

	// ipBinding is what happens when a session is refreshed from another network than before, that is from another /24 of IPv4 or /64 of IPv6:
	// Off does nothing, Log (the default) tells of it in the log and in a metric, Reauthenticate ends the session, so that the user must sign
	// in again. Phones change networks all day.
	// +kubebuilder:default=Log
	// +optional
	IPBinding IPBinding `json:"ipBinding,omitempty"`
}

// OnSessionLimit is what happens to one sign-in more than a user may have.
//
// +kubebuilder:validation:Enum=EndOldest;Refuse
type OnSessionLimit string

const (
	// OnLimitEndOldest ends the session that began first.
	OnLimitEndOldest OnSessionLimit = "EndOldest"
	// OnLimitRefuse refuses the sign-in.
	OnLimitRefuse OnSessionLimit = "Refuse"
)

// IPBinding is what happens when a session is refreshed from another network.
//
// +kubebuilder:validation:Enum=Off;Log;Reauthenticate
type IPBinding string

const (
	// IPBindingOff does nothing.
	IPBindingOff IPBinding = "Off"
	// IPBindingLog tells of it.
	IPBindingLog IPBinding = "Log"
	// IPBindingReauthenticate ends the session.
	IPBindingReauthenticate IPBinding = "Reauthenticate"
)

// Login says how users prove who they are: to the token service by a password of its own list, to the app by its webhook, or to a backend that
// is trusted to say who they are.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.usersSecretRef) && has(self.webhook))",message="set usersSecretRef or webhook, not both: one of them knows the users",fieldPath=".webhook"
// +kubebuilder:validation:XValidation:rule="has(self.usersSecretRef) || has(self.webhook) || has(self.trustedBackends)",message="set usersSecretRef, webhook or trustedBackends: otherwise nobody can sign in"
type Login struct {
	// usersSecretRef names a Secret in this namespace whose key users.yaml lists users with argon2id password hashes and claims. Make entries
	// with `latchkey hash-password`. A change is in force within a second, without a restart. Excludes webhook.
	// +optional
	UsersSecretRef *ObjectRef `json:"usersSecretRef,omitempty"`

	// webhook asks your app at each sign-in whether user name and password are right. Excludes usersSecretRef.
	// +optional
	Webhook *LoginWebhook `json:"webhook,omitempty"`

	// trustedBackends are the pods, by their ServiceAccounts, that may sign a user in without a password, having checked who it is by themselves, and
	// that may ask what a token is worth (RFC 7662). 1 to 16.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	TrustedBackends []ServiceAccountRef `json:"trustedBackends,omitempty"`
}

// LoginWebhook is a URL of your app that checks credentials.
type LoginWebhook struct {
	// url is asked by POST; https only, and redirects are not followed.
	// +kubebuilder:validation:Pattern=`^https://[^/?#@\s]+[^#\s]*$`
	// +kubebuilder:validation:MaxLength=2048
	// +required
	URL string `json:"url,omitempty"`

	// certificateAuthority holds the PEM certificates that the webhook's certificate must lead to. Unset: those that browsers trust.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +optional
	CertificateAuthority string `json:"certificateAuthority,omitempty"`

	// timeout is how long the answer may take, 100ms to 10s. Default: 5s.
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$')",message="must be a duration in seconds, such as 5s or 500ms"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms') && duration(self) <= duration('10s')",message="must be between 100ms and 10s"
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty,omitzero"`

	// secretRef names a Secret in this namespace whose key `secret` signs the requests as Standard Webhooks has it: whsec_ and base64 of 24 to 64
	// random bytes, or two of these on two lines while one replaces the other.
	// +required
	SecretRef ObjectRef `json:"secretRef,omitempty,omitzero"`
}

// ServiceAccountRef names a ServiceAccount.
type ServiceAccountRef struct {
	// name of the ServiceAccount.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`

	// namespace of the ServiceAccount. Unset: that of the TokenIssuer.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// Store is where sessions are kept.
//
// +kubebuilder:validation:ExactlyOneOf=sqlite;postgreSQL;redis
type Store struct {
	// sqlite keeps sessions in a file on a volume, for one replica.
	// +optional
	SQLite *SQLiteStore `json:"sqlite,omitempty"`

	// postgreSQL keeps sessions in a PostgreSQL database, for any number of replicas.
	// +optional
	PostgreSQL *PostgreSQLStore `json:"postgreSQL,omitempty"`

	// redis keeps sessions in Redis, for any number of replicas.
	// +optional
	Redis *RedisStore `json:"redis,omitempty"`
}

// SQLiteStore is the volume that holds the session database.
type SQLiteStore struct {
	// size of the volume. Default: 1Gi, which holds two million sessions.
	// +kubebuilder:default="1Gi"
	// +kubebuilder:validation:XValidation:rule="quantity(self).isGreaterThan(quantity('0'))",message="must be more than nothing"
	// +optional
	Size resource.Quantity `json:"size,omitempty,omitzero"`

	// storageClassName of the volume. Unset: the cluster's default.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +optional
	StorageClassName *string `json:"storageClassName,omitempty"`
}

// PostgreSQLStore is a PostgreSQL database of the TokenIssuer's own.
type PostgreSQLStore struct {
	// dsnSecretRef names the key of a Secret in this namespace that holds the database's URL,
	// postgres://user:password@host:5432/database. The server must speak TLS, and its certificate is checked (verify-full) without being
	// asked for; loopback addresses and Unix sockets may go without. A change is in force for new connections within a second or so.
	// +required
	DSNSecretRef SecretKeyRef `json:"dsnSecretRef,omitempty,omitzero"`

	// caSecretRef names the key of a Secret in this namespace with the certificates, in PEM, of the authorities that vouch for the server.
	// Unset: the authorities that browsers trust.
	// +optional
	CASecretRef *SecretKeyRef `json:"caSecretRef,omitempty"`
}

// RedisStore is a database of a Redis server, of the TokenIssuer's own: appendonly yes, appendfsync always, maxmemory-policy noeviction. A
// server that would forget sessions is refused.
type RedisStore struct {
	// urlSecretRef names the key of a Secret in this namespace that holds the server's URL, rediss://user:password@host:6379/0. Its
	// certificate is checked; loopback addresses and Unix sockets may go without TLS, by redis: or unix:. A change is in force for new
	// connections within a second or so.
	// +required
	URLSecretRef SecretKeyRef `json:"urlSecretRef,omitempty,omitzero"`

	// caSecretRef names the key of a Secret in this namespace with the certificates, in PEM, of the authorities that vouch for the server.
	// Unset: the authorities that browsers trust.
	// +optional
	CASecretRef *SecretKeyRef `json:"caSecretRef,omitempty"`
}

// SecretKeyRef names one key of a Secret in the same namespace.
type SecretKeyRef struct {
	// name of the Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`

	// key within the Secret.
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Key string `json:"key,omitempty"`
}

// TokenIssuerStatus is what the manager last saw and did.
type TokenIssuerStatus struct {
	// conditions are Accepted (the object makes sense and what it refers to is there) and Ready (the token service answers,
	// set up as asked). Ready is False with the reason of Accepted while that is False, though a token service that was set up before runs on:
	// see readyReplicas.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// url is where the token service is reached inside the cluster.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	URL string `json:"url,omitempty"`

	// readyReplicas is how many replicas answer.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`
}

// TokenIssuer is a token service: it signs users in, keeps them signed in, and signs them out everywhere. The manager runs it as
// Deployment and Service <name>-issuer in the object's own namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ti,categories=latchkey
// +kubebuilder:printcolumn:name="Issuer",type=string,JSONPath=`.spec.issuer`
// +kubebuilder:printcolumn:name="Signing Key",type=string,JSONPath=`.spec.signingKeyRef.name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="the name must be at most 52 characters: the names of the Deployment, Service and Secrets are made from it",fieldPath=".metadata"
type TokenIssuer struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says who is signed in, what tokens they get, and for how long.
	// +required
	Spec TokenIssuerSpec `json:"spec,omitempty,omitzero"`

	// status is what the manager last saw and did.
	// +optional
	Status TokenIssuerStatus `json:"status,omitempty,omitzero"`
}

// TokenIssuerList is a list of TokenIssuers.
//
// +kubebuilder:object:root=true
type TokenIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the TokenIssuers.
	Items []TokenIssuer `json:"items"`
}
