// Package managerload measures a manager among many policies and pods, and counts what it writes. Pods are objects on a real API server, made
// by way of the real webhook; nothing runs in them, and stand-ins answer for their sidecars. It knows the manager as a process with the rights that
// config/ gives it, and by what the API server's audit log says of it; it knows nothing of how the manager does its work. `make load-manager` runs it with
// a thousand policies and ten thousand pods, and prints what it measured; as a test among others it runs with fewer, and asserts the counts.
//
// # What is asserted
//
//   - A manager at rest, and one that starts among objects that are in step, writes nothing.
//   - After a change each pod whose files are to change is poked: once, and again only as long as it has not answered that it has them.
//   - No other pod is written to. One bundle is written for each policy concerned, and beyond these and the status of these policies only what the
//     change says: a revoked key takes writes of its ring, of its published half and of its SigningKey's status.
//
// No assertion is about time. Leases and events are not counted: they are no part of what the cluster is told to be.
//
// Where to read first:
//
//	load_test.go   the run
//	world.go       what is in the cluster
//	standins.go    how pods answer, and when they read their files
//	audit.go       what the manager asked the API server for
//	judge.go       what it should have
//	process.go     the manager, its memory and its CPU
package managerload
