//go:build race

package sidecar_test

// plainAllocations is how many allocations a plain request may cost. With the race detector pools lose things on purpose.
const plainAllocations = 10
