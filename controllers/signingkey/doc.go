// Package signingkey keeps the ring of each SigningKey: it observes the Secret, lets package rotation decide, and writes and publishes the
// result. It knows where rings are kept and told of, not when a key changes its role nor how it signs.
package signingkey
