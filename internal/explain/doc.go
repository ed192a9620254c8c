// Package explain finds the decision that a caller was told the id of, in the pod that made it, and says what it means. It knows every reason
// that sidecars have, and how to reach a sidecar's own admin port through the API server; it decides nothing.
package explain
