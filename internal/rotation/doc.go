// Package rotation decides when signing keys change role. It knows time and what is written about keys, not keys themselves, Kubernetes, or
// where anything is stored: it imports the standard library only and has no clock of its own.
//
// The life of a key: generated as Pending (published, so that every verifier can learn it; not signing), made Active when its turn has come
// and everybody who depends on it has acknowledged it, or the time to wait for that is over (it signs; the one before it becomes Retiring
// in the same step), Retiring until the last token that it signed has expired, removed. Two kinds of key sign without having been Pending for
// the lead, and wait for nobody: the very first one, and one that must take over at once because the signing key was revoked.
package rotation
