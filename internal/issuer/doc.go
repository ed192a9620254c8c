// Package issuer is the token service: it signs users in, keeps them signed in, and signs them out everywhere within a second. It reads
// mounted files, keeps sessions in a store and answers HTTP; it knows nothing of Kubernetes, and never calls it.
//
// The life of a request: handler.go takes it from the wire, sessions.go does what was asked by the rules of package session, and answers
// with a grant or a refusal. What the mounted files say is one immutable material (material.go), which a request loads once. Sessions that
// end go into the journal (journal.go), from which every sidecar follows the stream of revocations (stream.go).
package issuer
