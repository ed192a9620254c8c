// Package tracing tells a collector of the requests that came through, as spans of W3C traces (OTLP over HTTP, in JSON). It knows trace contexts and how
// spans are sent; it does not know whose requests these are. Nothing waits for it: what cannot be sent in time is dropped and
// counted.
package tracing
