package v1alpha1

// Condition types. Every kind has Accepted (the object makes sense and everything it refers to is there) and Ready (what it
// asks for has been done). Both carry the observedGeneration they speak of. While Accepted is False, Ready is False with the same reason; only
// a Conflicted AuthPolicy may be Ready.
const (
	ConditionAccepted = "Accepted"
	ConditionReady    = "Ready"
)

// ConditionAcknowledged is a SigningKey's: whether all that depend on the key that signs had reported it before it did. Its reasons are
// Acknowledged, Unacknowledged, NotAwaited and NotObserved.
const ConditionAcknowledged = "Acknowledged"

// ConditionIssuersHealthy is an AuthPolicy's whose issuers have keys that are fetched: whether fetching goes well. Its reasons are Healthy,
// FetchFailed and KeysRefused.
const ConditionIssuersHealthy = "IssuersHealthy"

// Further conditions of a SigningKey.
const (
	// ConditionIntact: whether the ring holds the private half of each of its keys that was made for it. Its reasons are Intact and KeysLost.
	ConditionIntact = "Intact"
	// ConditionConsistent: whether the spec fits the ring and those who refer to it. Its reasons are Consistent, RetainTooShort, UnknownKeyIDs and RingFull.
	ConditionConsistent = "Consistent"
	// ConditionDeletable is there while the SigningKey is being deleted: whether nobody refers to it. Its reason is InUse.
	ConditionDeletable = "Deletable"
)

// FinalizerInUse is on a SigningKey that somebody refers to. Its deletion waits until nobody does.
const FinalizerInUse = "auth.latchkey.dev/in-use"

// AnnotationImport on a SigningKey has the uid of a Secret <name>-signing that belongs to nobody and holds a private key, or a ring, from
// elsewhere. It is taken over as the SigningKey's own. Naming the very object keeps out any other that somebody puts there.
const AnnotationImport = "auth.latchkey.dev/import"

// ConditionCertificateFresh is an AuthPolicy's with tls: whether the certificate in force has yet some time to go. Its reasons are Fresh, ExpiresSoon
// and Expired.
const ConditionCertificateFresh = "CertificateFresh"

// Conditions of an AuthPolicy about its pods.
const (
	// ConditionPodsProtected: whether every pod that asks for the sidecar and that the policy would govern has it. Its reasons are Protected and SidecarMissing.
	ConditionPodsProtected = "PodsProtected"
	// ConditionSidecarsCurrent: whether each sidecar is the one that the manager would put in now. Its reasons are Current and SidecarOutdated.
	ConditionSidecarsCurrent = "SidecarsCurrent"
)

// Condition reasons. They are stable: alerts and scripts may rely on them.
const (
	// ReasonAccepted: nothing is wrong with the object.
	ReasonAccepted = "Accepted"
	// ReasonReady: what the object asks for is in place.
	ReasonReady = "Ready"
	// ReasonInvalid: the object contradicts itself in a way the API server could not see; the message has the path.
	ReasonInvalid = "Invalid"
	// ReasonRefNotFound: an object that this one names is not there yet. It is looked for again when it appears.
	ReasonRefNotFound = "RefNotFound"
	// ReasonRefNotReady: an object that this one names is there, but has not produced what is needed from it.
	ReasonRefNotReady = "RefNotReady"
	// ReasonRefNotPermitted: an object of another namespace that this one names does not permit it, or is not there. Which of the two is not told.
	ReasonRefNotPermitted = "RefNotPermitted"
	// ReasonConflicted: an older AuthPolicy selects some of the same pods. The oldest governs them.
	ReasonConflicted = "Conflicted"
	// ReasonUnreadable: the Secret that holds the keys cannot be read as Latchkey wrote it. Nothing is minted over it.
	ReasonUnreadable = "Unreadable"
	// ReasonNotOwned: an object of the name that this one would write belongs to somebody else. It is left alone.
	ReasonNotOwned = "NotOwned"
	// ReasonProgressing: the work is under way; the message says what is awaited.
	ReasonProgressing = "Progressing"
	// ReasonFresh: the certificate in force has time to go.
	ReasonFresh = "Fresh"
	// ReasonExpiresSoon: less than 14 days, or a fifth of its lifetime, is left of the certificate in force.
	ReasonExpiresSoon = "ExpiresSoon"
	// ReasonExpired: the certificate in force has expired, and callers refuse it.
	ReasonExpired = "Expired"
	// ReasonAcknowledged: every ready pod that depends on the key had reported it before it signed.
	ReasonAcknowledged = "Acknowledged"
	// ReasonUnacknowledged: the time to wait was over; the message names the pods that had not reported the key. They may have refused its tokens.
	ReasonUnacknowledged = "Unacknowledged"
	// ReasonNotAwaited: the key had to sign at once, as the first one or in the place of a revoked one. Nobody was asked.
	ReasonNotAwaited = "NotAwaited"
	// ReasonHealthy: the last fetch of each key set succeeded, and nothing is wrong with its keys.
	ReasonHealthy = "Healthy"
	// ReasonFetchFailed: a key set cannot be fetched. The last good one stays in force.
	ReasonFetchFailed = "FetchFailed"
	// ReasonKeysRefused: some keys of a set that was fetched are not fit to be trusted, and are left out.
	ReasonKeysRefused = "KeysRefused"
	// ReasonProtected: no pod that the policy would govern lacks the sidecar.
	ReasonProtected = "Protected"
	// ReasonSidecarMissing: pods run without the sidecar that they ask for; the message names some. They are not protected.
	ReasonSidecarMissing = "SidecarMissing"
	// ReasonCurrent: each sidecar is of the manager's version.
	ReasonCurrent = "Current"
	// ReasonSidecarOutdated: pods have a sidecar of another version than the manager's; the message names some. They keep it until they are made anew.
	ReasonSidecarOutdated = "SidecarOutdated"
	// ReasonNotObserved: the key signs, and how it came to is not known, because the ring was put back or edited since.
	ReasonNotObserved = "NotObserved"
	// ReasonIntact: the private half of each key is there.
	ReasonIntact = "Intact"
	// ReasonKeysLost: keys have left the Secret otherwise than by rotation. Tokens that they signed are still taken, until the keys' end.
	ReasonKeysLost = "KeysLost"
	// ReasonConsistent: the spec fits the ring and those who refer to it.
	ReasonConsistent = "Consistent"
	// ReasonRetainTooShort: tokens of a TokenIssuer may outlive the key that signed them.
	ReasonRetainTooShort = "RetainTooShort"
	// ReasonUnknownKeyIDs: a key is revoked that was never seen in this ring.
	ReasonUnknownKeyIDs = "UnknownKeyIDs"
	// ReasonRingFull: the next key has to wait until an older one has left.
	ReasonRingFull = "RingFull"
	// ReasonInUse: an AuthPolicy or a TokenIssuer refers to the object, whose deletion waits for that.
	ReasonInUse = "InUse"
)

// Labels and annotations that Latchkey reads or writes.
const (
	// LabelInject, with the value "enabled", on a pod or its namespace asks for the sidecar. "disabled" on a pod takes it out of a
	// namespace that asks for it.
	LabelInject         = "auth.latchkey.dev/inject"
	LabelInjectEnabled  = "enabled"
	LabelInjectDisabled = "disabled"
	// LabelPod on a pod says what Latchkey has to do with it: LabelPodSidecar, set by the webhook at admission, or LabelPodIssuer. The manager
	// watches no other pods. Where there is no sidecar the label alone makes none; taken off a running pod, it leaves changes to come
	// at the kubelet's own pace.
	LabelPod        = "auth.latchkey.dev/pod"
	LabelPodSidecar = "sidecar"
	LabelPodIssuer  = "issuer"
	// LabelPolicy on a pod names the AuthPolicy that governs it. The webhook sets it at admission.
	LabelPolicy = "auth.latchkey.dev/policy"
	// LabelTokenIssuer on a pod names the TokenIssuer that it serves.
	LabelTokenIssuer = "auth.latchkey.dev/tokenissuer"
	// AnnotationVolumes on a pod is the poke: "<hash of what its volumes should hold> <attempt>". Changing it makes the kubelet
	// refresh the pod's volumes at once.
	AnnotationVolumes = "auth.latchkey.dev/volumes"
	// AnnotationProfile, with the value "enabled", on a pod has its sidecar serve profiles of itself from when the pod is made, and on a TokenIssuer
	// its token service; on the admin port, and from inside the pod alone.
	AnnotationProfile = "auth.latchkey.dev/profile"
	ProfileEnabled    = "enabled"
)

// SidecarContainerName is the name of the injected container.
const SidecarContainerName = "latchkey"
