//go:build !race

package sidecar_test

// plainAllocations is how many allocations a plain request may cost: a text for its head and one for that of its answer.
const plainAllocations = 2
