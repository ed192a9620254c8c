// Package inject puts the sidecar into pods at admission. It owns the shape of the injected container, its volumes, and what a pod must
// not be for the sidecar to protect it; it knows pods and which AuthPolicy governs one, not what a policy means.
//
// Where to read first:
//
//	pod.go        the whole of an injection: refuse, rewrite, put in
//	refuse.go     what a pod must not be
//	probes.go     the kubelet's probes, pointed at the sidecar
//	container.go  what is put in
//	policy.go     which policy governs a pod
//	webhook.go    the same, as the API server asks for it; patch.go is the answer's form
//
// What is injected is always exactly what this manager would inject now: a pod that comes with a sidecar already, because the API server
// asks again after another webhook, or because somebody copied a running pod, gets it replaced by the present one.
package inject
