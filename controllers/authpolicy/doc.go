// Package authpolicy turns each AuthPolicy into the bundle that its sidecars read. It knows where keys and token services are found and which
// of several policies governs a pod; what a policy or a key set means it leaves to those who will carry it out.
package authpolicy
