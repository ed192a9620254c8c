// Command demo shows Latchkey's main job before the reader's eyes: it starts a real API server, installs what config/ holds, applies
// examples/quickstart, runs what the cluster then prescribes on a local node, and checks it over HTTP, each exchange as a curl command that
// can be typed again. It knows the objects and the HTTP interfaces, and nothing of how they are carried out.
//
// Where to read first:
//
//	checks.go    what is checked, in order
//	setup.go     what stands before the first check
//	signin.go    the checks themselves, and sessions.go, keys.go, objects.go
//	screen.go    how it is shown; exchange.go for HTTP
package main
