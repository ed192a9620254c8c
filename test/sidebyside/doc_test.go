// Package sidebyside measures the sidecar and what else people put in front of apps in one run, in turn, each on one core of its own: CPU time and
// memory of the proxy's process, requests a second, and latency at a fixed rate. It asserts nothing about time.
package sidebyside
