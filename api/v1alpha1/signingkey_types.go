package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SigningAlgorithm is a JWS algorithm (RFC 7518, RFC 8037, RFC 9864) that keys are made for.
//
// +kubebuilder:validation:Enum=ES256;ES384;ES512;RS256;RS384;RS512;PS256;PS384;PS512;EdDSA;Ed25519;HS256;HS384;HS512
type SigningAlgorithm string

// SigningKeySpec says what keys to keep and when they change. A SigningKey holds a ring: one key that signs, the key that will
// sign next (published ahead of time, so that every verifier knows it before it is used), and the keys that signed before
// (still published, until the last token they signed has expired).
//
// +kubebuilder:validation:XValidation:rule="!has(self.publishLead) || !has(self.rotateEvery) || duration(self.publishLead) < duration(self.rotateEvery)",message="publishLead must be shorter than rotateEvery: a key is published that long before its turn comes",fieldPath=".publishLead"
// +kubebuilder:validation:XValidation:rule="!has(self.retain) || !has(self.rotateEvery) || duration(self.retain).getSeconds() <= 100 * duration(self.rotateEvery).getSeconds()",message="retain must be at most 100 times rotateEvery: every key that retires is kept that long, and verifiers take no more keys than that; rotate less often, or retain for less long",fieldPath=".retain"
// +kubebuilder:validation:XValidation:rule="!has(self.rsaBits) || !has(self.algorithm) || self.algorithm.startsWith('RS') || self.algorithm.startsWith('PS')",message="rsaBits goes with an RS or PS algorithm only; remove it or choose one of those",fieldPath=".rsaBits"
type SigningKeySpec struct {
	// algorithm is what the keys are made for. Elliptic curves sign fast and their tokens are short; RSA verifies fastest and is
	// understood everywhere; HS256, HS384 and HS512 are symmetric: whoever can verify can also sign, and the key set is
	// handed out in Secrets, never in a ConfigMap. EdDSA and Ed25519 are two names of one algorithm, and the name is what tokens and key
	// sets carry: EdDSA is what most clients know, Ed25519 what those want that follow RFC 9864. A change takes effect as a rotation that is due now, publishLead included.
	// +kubebuilder:default=ES256
	// +optional
	Algorithm SigningAlgorithm `json:"algorithm,omitempty"`

	// rsaBits is the size of RSA keys in bits: 2048, 3072 or 4096. Default: 2048. Only with an RS or PS algorithm.
	// +kubebuilder:validation:Enum=2048;3072;4096
	// +optional
	RSABits int32 `json:"rsaBits,omitempty"`

	// rotateEvery is how long one key signs, as a duration such as "720h" or "90m", at least 10s. Default: 720h (30 days).
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$')",message="must be a duration in hours, minutes and seconds, such as 720h, 1h30m or 90s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s')",message="must be at least 10s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('87600h')",message="must be at most 87600h (10 years)"
	// +optional
	RotateEvery metav1.Duration `json:"rotateEvery,omitempty,omitzero"`

	// publishLead is how long a key is published before it signs, so that every verifier holds it in time; at least 1s and shorter
	// than rotateEvery. Give it at least as long as the slowest of your verifiers caches a key set. Default: 1h.
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$')",message="must be a duration in hours, minutes and seconds, such as 720h, 1h30m or 90s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="must be at least 1s"
	// +optional
	PublishLead metav1.Duration `json:"publishLead,omitempty,omitzero"`

	// acknowledgeWithin is how long a key whose turn to sign has come waits until every ready pod that depends on it, with a sidecar or with a
	// token service, reports that it holds the key; 0s to 87600h. The key that signed goes on signing meanwhile, and status.waitingFor names who is
	// awaited. After that time the new key signs all the same, and the condition Acknowledged is False. With 0s pods are asked once and
	// not waited for. The first key, and one that takes over from a revoked one, never wait. Default: 5m.
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$')",message="must be a duration in hours, minutes and seconds, such as 720h, 1h30m or 90s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('87600h')",message="must be at most 87600h (10 years)"
	// +optional
	AcknowledgeWithin *metav1.Duration `json:"acknowledgeWithin,omitempty"`

	// retain is how long a key still verifies after it stopped signing; at least 1s, at most 87600h and 100 times rotateEvery. It must
	// outlast every token that the key signed: the longest token lifetime plus a minute of clock skew. Default: 24h.
	// +kubebuilder:default="24h"
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$')",message="must be a duration in hours, minutes and seconds, such as 720h, 1h30m or 90s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="must be at least 1s"
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('87600h')",message="must be at most 87600h (10 years)"
	// +optional
	Retain metav1.Duration `json:"retain,omitempty,omitzero"`

	// revokedKeyIDs lists key ids (kid) that must not be trusted any more. A listed key leaves the ring and every sidecar at once; if
	// it was the one that signs, the next key takes over at once, published or not, so some verifiers may refuse new
	// tokens for a moment. Find the ids in status.keys. At most 64; an id may stay listed forever.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=set
	// +optional
	RevokedKeyIDs []string `json:"revokedKeyIDs,omitempty"`

	// allowedNamespaces says which namespaces may refer to the public half of this key, by keys.signingKeyRef of an AuthPolicy. Its own
	// always may. The private half never leaves its namespace, and nor do the keys of HS algorithms, which are shared secrets. When the consent
	// is withdrawn, tokens of these keys are refused there at once. Default: {from: Same}.
	// +optional
	AllowedNamespaces AllowedNamespaces `json:"allowedNamespaces,omitempty,omitzero"`
}

// AllowedNamespaces names namespaces, as listeners of the Gateway API do.
//
// +kubebuilder:validation:XValidation:rule="has(self.selector) == (has(self.from) && self.from == 'Selector')",message="selector goes with from: Selector, and only with it",fieldPath=".selector"
type AllowedNamespaces struct {
	// from is Same (the object's own namespace only), Selector (and those that selector selects), or All. Default: Same.
	// +kubebuilder:default=Same
	// +optional
	From FromNamespaces `json:"from,omitempty"`

	// selector selects namespaces by their labels; an empty one selects all of them. Exactly with from: Selector. Every namespace has the
	// label kubernetes.io/metadata.name. Whoever may label a namespace may add it.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// FromNamespaces says how namespaces are chosen.
//
// +kubebuilder:validation:Enum=Same;Selector;All
type FromNamespaces string

const (
	// FromSame means the object's own namespace.
	FromSame FromNamespaces = "Same"
	// FromSelector means its own, and those that a selector selects.
	FromSelector FromNamespaces = "Selector"
	// FromAll means every namespace.
	FromAll FromNamespaces = "All"
)

// KeyPhase is what a key of a ring is used for.
//
// +kubebuilder:validation:Enum=Pending;Active;Retiring
type KeyPhase string

const (
	// KeyPending is published and does not sign yet.
	KeyPending KeyPhase = "Pending"
	// KeyActive signs. A ring has exactly one.
	KeyActive KeyPhase = "Active"
	// KeyRetiring has stopped signing and still verifies.
	KeyRetiring KeyPhase = "Retiring"
)

// SigningKeyStatus is what the manager last saw and did.
type SigningKeyStatus struct {
	// conditions are Accepted, Ready, Acknowledged, Intact, Consistent and, while it is being deleted, Deletable. Ready is False with reason
	// Unreadable when the Secret cannot be read; nothing is minted then. Acknowledged tells how the key that signs came to sign: it is False with
	// reason Unacknowledged when some pod had not reported it in time. Intact is False while private keys are lost whose tokens are still taken.
	// Consistent is False when the spec does not fit the ring or a TokenIssuer that refers to it. Deletable is False while somebody refers to it.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// activeKeyID is the kid of the key that signs now.
	// +kubebuilder:validation:MaxLength=128
	// +optional
	ActiveKeyID string `json:"activeKeyID,omitempty"`

	// activeSince is when the active key began to sign.
	// +optional
	ActiveSince *metav1.Time `json:"activeSince,omitempty"`

	// nextRotation is when the next key is due to sign. It is in the past while that key waits to be acknowledged.
	// +optional
	NextRotation *metav1.Time `json:"nextRotation,omitempty"`

	// waitingFor names the pods of this namespace that the next key waits for, in alphabetical order: its turn has come, and they have not
	// reported that they hold it. The first ten of them; waitingForCount is how many they are in all, those of other namespaces included.
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=atomic
	// +optional
	WaitingFor []string `json:"waitingFor,omitempty"`

	// waitingForCount is how many pods the next key waits for.
	// +optional
	WaitingForCount int32 `json:"waitingForCount,omitempty"`

	// ringSerial counts the changes of the ring that is described here. A Secret whose ring has a lower number, or the same and other keys, was put
	// back from a backup or edited.
	// +kubebuilder:validation:Minimum=0
	// +optional
	RingSerial int64 `json:"ringSerial,omitempty"`

	// revokedKeyIDs are those of spec.revokedKeyIDs that were in this ring, and left it for that.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=set
	// +optional
	RevokedKeyIDs []string `json:"revokedKeyIDs,omitempty"`

	// keys lists every key of the ring.
	// +kubebuilder:validation:MaxItems=1024
	// +listType=map
	// +listMapKey=keyID
	// +optional
	Keys []KeyStatus `json:"keys,omitempty"`
}

// KeyStatus is one key of the ring, without its material.
type KeyStatus struct {
	// keyID is the kid that tokens and key sets carry: the key's RFC 7638 thumbprint.
	// +kubebuilder:validation:MaxLength=128
	// +required
	KeyID string `json:"keyID"`

	// algorithm is what the key was made for.
	// +required
	Algorithm SigningAlgorithm `json:"algorithm"`

	// phase is Pending (published), Active (signs) or Retiring (verifies only).
	// +required
	Phase KeyPhase `json:"phase"`

	// since is when the key entered its phase.
	// +required
	Since metav1.Time `json:"since"`

	// until is when the key leaves the ring; set for Retiring keys.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
}

// SigningKey is a signing key that rotates by itself. Its private half is kept in the Secret <name>-signing; its public half is
// published in the ConfigMap <name>-jwks (for HS algorithms in the Secret <name>-jwks).
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sk,categories=latchkey
// +kubebuilder:printcolumn:name="Algorithm",type=string,JSONPath=`.spec.algorithm`
// +kubebuilder:printcolumn:name="Active Key",type=string,JSONPath=`.status.activeKeyID`
// +kubebuilder:printcolumn:name="Signing Since",type=date,JSONPath=`.status.activeSince`
// +kubebuilder:printcolumn:name="Next Rotation",type=string,format=date-time,JSONPath=`.status.nextRotation`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52",message="the name must be at most 52 characters: the names of Secrets and ConfigMaps are made from it",fieldPath=".metadata"
type SigningKey struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says what keys to keep and when they change. Every field has a default: `spec: {}` is a good key.
	// +kubebuilder:default={}
	// +optional
	Spec SigningKeySpec `json:"spec,omitempty,omitzero"`

	// status is what the manager last saw and did.
	// +optional
	Status SigningKeyStatus `json:"status,omitempty,omitzero"`
}

// SigningKeyList is a list of SigningKeys.
//
// +kubebuilder:object:root=true
type SigningKeyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	// items are the SigningKeys.
	Items []SigningKey `json:"items"`
}
