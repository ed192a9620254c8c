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
	// ReasonConflicted: an older AuthPolicy selects some of the same pods. The oldest governs them.
	ReasonConflicted = "Conflicted"
	// ReasonUnreadable: the Secret that holds the keys cannot be read as Latchkey wrote it. Nothing is minted over it.
	ReasonUnreadable = "Unreadable"
	// ReasonNotOwned: an object of the name that this one would write belongs to somebody else. It is left alone.
	ReasonNotOwned = "NotOwned"
	// ReasonProgressing: the work is under way; the message says what is awaited.
	ReasonProgressing = "Progressing"
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
	// ReasonNotObserved: the key signs, and the manager was kept from recording who had reported it, by a restart or a write that failed.
	ReasonNotObserved = "NotObserved"
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
)

// SidecarContainerName is the name of the injected container.
const SidecarContainerName = "latchkey"
