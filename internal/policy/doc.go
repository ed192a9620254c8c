// Package policy decides what a request may do: it compiles a policy document to a program, normalises the path of a request, and says
// which headers tell the app who calls. It knows requests and claims, not tokens, keys or Kubernetes.
package policy
