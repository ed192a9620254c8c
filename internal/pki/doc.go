// Package pki makes the certificates by which Latchkey's own processes know each other: one authority per installation, and serving
// certificates of the webhook and of the token services. It knows X.509 and PEM, and nothing of Kubernetes or of where they are kept.
package pki
