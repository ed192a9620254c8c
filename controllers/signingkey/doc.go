// Package signingkey keeps the ring of each SigningKey: it observes the Secret, asks the pods that depend on a key whose turn has come, lets
// package rotation decide, and writes and publishes the result. It knows where rings are kept and told of and who must hold a key before it
// signs, not when a key changes its role nor how it signs.
package signingkey
