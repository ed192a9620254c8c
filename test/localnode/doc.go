// Package localnode runs the pods of a real API server as processes of this machine, without root and on loopback addresses only. It plays
// the Deployment controller, the kubelet, kube-proxy and the garbage collector, as far as the demo and its tests need them. It takes what
// the cluster's objects prescribe (images, args, env, volumes, probes, Services) and knows nothing of Latchkey.
//
// What a pod sees is put in terms of this machine, in three ways:
//
//   - An image is a program of this machine, by a table that the caller gives.
//   - A mount path in command, args or env becomes the local directory that holds the volume.
//   - Every pod has an address of its own in 127.77.0.0/16, and a loopback address of its own in 127.78.0.0/16, which takes the place of
//     127.0.0.1 in args and env: so the apps of two pods may listen on the same loopback port, as they may in a cluster.
//
// Volumes hold files as a kubelet writes them, and are refreshed when a kubelet would: when the pod itself changes, and else once a minute.
// What is asked for and not played here (exec and gRPC probes, lifecycle hooks, subPath, other kinds of volume) is refused by name in
// the container's status. Resource limits and security contexts are left to a real node.
package localnode
