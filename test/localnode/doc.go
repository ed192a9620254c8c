// Package localnode runs the pods of a real API server as processes of this machine, without root and on loopback addresses only. It plays
// the Deployment controller, the kubelet, kube-proxy, the provisioner of volumes and the garbage collector, as far as the demo needs them. It
// takes what the cluster's objects prescribe (images, args, env, volumes, probes, Services) and knows nothing of Latchkey.
//
// Where to read first:
//
//	node.go         what there is, and how it starts and stops
//	deployments.go  from a Deployment to its pods
//	kubelet.go      which pods run here; sandbox.go is the life of one, container.go that of one of its containers
//	hooks.go        what happens before the end of a container
//	volumes.go      what a volume holds; claims.go for those that outlive a pod
//	services.go     from a Service's address to a pod
//
// What a pod sees is put in terms of this machine, in three ways:
//
//   - An image is a program of this machine, by a table that the caller gives.
//   - A mount path in command, args or env becomes the local directory that holds the volume.
//   - Every pod has an address of its own in 127.77.0.0/16, and a loopback address of its own in 127.78.0.0/16, which takes the place of
//     127.0.0.1 in args and env: so the apps of two pods may listen on the same loopback port, as they may in a cluster.
//
// Volumes hold files as a kubelet writes them, and are refreshed when a kubelet would: when the pod itself changes, and else once a minute.
// What is asked for and not played here (exec and gRPC probes, postStart, exec hooks, subPath, other kinds of volume) is refused by name in
// the container's status. Resource limits and security contexts are left to a real node, and the end of a namespace to a real cluster: one that
// is deleted here stays Terminating.
package localnode
