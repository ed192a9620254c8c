// Package foreign keeps the key sets of foreign issuers up to date: it decides when each is fetched again, and shares one fetch among all policies
// that name the same source. It knows clocks and owners, not what a policy is, what is on the wire, or what becomes of a set. It stores
// nothing: what was fetched last lives on in the bundles of those who use it.
package foreign
