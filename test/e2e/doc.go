// Package e2e tests Latchkey on a real node: a kubelet, containers, volumes, Services, and the images that are shipped. It knows the cluster's API, the
// files that users apply, and HTTP; nothing of how Latchkey works. `make e2e` runs it; the tests carry the build tag e2e, for they need a cluster.
//
// Where to read first:
//
//	run                where the cluster comes from
//	chart_test.go, upgrade_test.go, operations_test.go  the ways to install, upgrade and remove Latchkey
//	main_test.go       what all tests share: clients, installing, waiting
//	app_test.go        the app of the quickstart in a namespace of its own, and its users
//	interception_test.go  how callers get to the sidecar, and nobody past it
//	foreign_test.go    applications that nobody here wrote, from workloads/
//	distribution_test.go  a change, fifty pods, and how soon; herald_test.go spares these pods most questions
//	traffic_test.go    clients that must not notice anything
//	evidence_test.go   what is shown of a test that fails
package e2e
