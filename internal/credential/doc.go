// Package credential finds the bearer token of a request, and takes it out again. It knows where in a request tokens may stand, and in how
// many spellings apps read such places; it does not know what a token says or whether it is valid.
package credential
