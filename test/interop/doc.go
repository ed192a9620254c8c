// Package interop proves that Latchkey's keys are for any server: OpenSSL and the npm package jose sign with the files that a pod mounts, and a
// real sidecar takes their tokens; jose takes ours by the published key sets. What they run is read from docs/interop.md, so the page is right.
package interop
