// Package rollout replaces the pods of a token service while people sign in and refresh, and holds Latchkey to this: nobody is refused, and nobody
// loses a session. API server, manager, sidecar, Redis and the token service's replicas are real processes; the node is package localnode's.
package rollout
