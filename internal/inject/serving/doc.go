// Package serving makes the API server trust the admission webhook. It owns the Secret that holds Latchkey's certificate authority, the
// webhook's serving certificate, and the caBundle of the webhook's configuration; it knows nothing of what the webhook answers.
package serving
