// Package bundle owns the file that tells one sidecar all it needs: a policy and the issuers whose tokens it takes. It knows the file's form
// and what its parts must be to each other, not what a policy or a key means.
package bundle
