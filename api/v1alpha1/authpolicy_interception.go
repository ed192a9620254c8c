package v1alpha1

// Interception is how callers of a pod's ports get to the sidecar instead of the app.
type Interception string

// The ways of interception. A pod has Redirect or Loopback; Auto leaves the choice to the manager.
const (
	InterceptionAuto     Interception = "Auto"
	InterceptionRedirect Interception = "Redirect"
	InterceptionLoopback Interception = "Loopback"
)

// AnnotationInterception on a pod has the way that was chosen when it was created. It is for people: the manager goes by the pod's containers.
const AnnotationInterception = "auth.latchkey.dev/interception"

// RedirectContainerName is the name of the init container that is injected for InterceptionRedirect.
const RedirectContainerName = "latchkey-redirect"

// ConditionIntercepted is an AuthPolicy's that has pods: how their callers get to the sidecar. It is always True: pods whose callers would not are refused. Its
// reasons are those below.
const ConditionIntercepted = "Intercepted"

// The reasons of ConditionIntercepted.
const (
	// ReasonRedirected: the kernel of each pod brings callers to the sidecar. The app may listen where it likes.
	ReasonRedirected = "Redirected"
	// ReasonLoopbackOnly: in all pods, or in some, the sidecar takes the app's ports. There the app must listen on 127.0.0.1 or ::1.
	ReasonLoopbackOnly = "LoopbackOnly"
)
