// Package jwksource fetches the key sets that foreign issuers publish. Who names an issuer's URL may be anybody who may write a policy, and who
// answers there may be anybody at all: so it decides what may be dialled, what is believed of an answer, and how little of it is told on. It knows
// HTTP, TLS and key sets, not who wants the keys, nor when to fetch them.
package jwksource
