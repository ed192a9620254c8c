// Package coverage finds pods that ask for the sidecar, themselves or by their namespace, and run without it: those created before
// Latchkey was there, or while its webhook was away. It knows labels, and not which policy would govern a pod.
//
// It asks the API server every half a minute, with selectors that only such pods match. To watch them would be to watch every pod of the cluster, for the
// sake of those that should not exist.
package coverage
