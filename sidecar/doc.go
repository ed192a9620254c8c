// Package sidecar is the data plane: the process in front of one pod's app. It owns that pod's listeners and the life of every request
// that comes to them. It knows files, sockets and HTTP; it knows neither Kubernetes nor how a token is signed, and it asks nobody's
// leave to serve what it has already read.
//
// Where to read first:
//
//	config.go     the flags
//	server.go     the order of starting, serving and draining
//	handler.go    the life of a request
//	gate/         what is decided about it, and by whom it is then known to the app
//	renew.go      how a page's session is renewed on the way in
//	exchange.go   what it is from then on; watch.go ends it when its token, the policy or patience does
//	websocket.go  how a WebSocket is carried, and told why it ends, between two frames/
//	answer.go     the way back to the caller; observe.go tells of it when it is over, over accesslog/ and internal/tracing
//	forward.go    how it reaches the app; plain.go how nearly all do, faster
//	http1/        HTTP/1.1 without net/http, where nothing about it is unusual
//	lobby.go      which connections are taken, and on what terms; door.go serves them; newest.go has terms for the sidecar's own ports
//	reload.go     how a changed bundle comes into force; residency/ gives back what that took
//	warmup.go     what a new pod waits for before it says that it is ready
//	admin.go      what the process says about itself; metrics.go and decisions.go hold it
//	probe.go      how the kubelet asks after the app
//	refetch/      what happens when a token names a key of a foreign issuer that nobody knows
//	tokenservice/ the talk with token services: sign-in routes, and the stream of revocations
//	problem/      how a refusal looks
package sidecar
