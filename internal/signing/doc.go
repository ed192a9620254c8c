// Package signing owns the private half of keys: making them, signing tokens with them, and the form in which a ring of them is stored. It
// knows keys and the phases that package rotation gives them, not when a phase should change, nor Kubernetes. Nothing in it can be printed:
// Ring.Marshal, Ring.SecretData and Key.PrivatePEM are the only ways out.
package signing
