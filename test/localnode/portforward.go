package localnode

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// forwardPort is what `kubectl port-forward` comes to: each pair of streams becomes a connection to a port on the pod's loopback address.
func (k *kubelet) forwardPort(w http.ResponseWriter, r *http.Request) {
	running := k.sandbox(types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("pod")})
	if running == nil {
		http.Error(w, "no such pod runs here", http.StatusNotFound)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return // it has answered
	}
	streams := make(chan httpstream.Stream, 8) // more than callers here leave behind
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	})
	if connection == nil {
		return // likewise
	}
	defer func() { _ = connection.Close() }()
	waiting := map[string]httpstream.Stream{} // for the other half of their pair, by request
	for {
		select {
		case <-connection.CloseChan():
			return
		case stream := <-streams:
			request := stream.Headers().Get(corev1.PortForwardRequestIDHeader)
			other := waiting[request]
			if other == nil {
				waiting[request] = stream
				continue
			}
			delete(waiting, request)
			if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				stream, other = other, stream
			}
			go carry(net.JoinHostPort(running.address.Loopback.String(), stream.Headers().Get(corev1.PortHeader)), stream, other)
		}
	}
}

// carry copies both ways until both are done. What goes wrong is told on the stream for trouble.
func carry(address string, stream, trouble httpstream.Stream) {
	defer func() { _, _ = stream.Close(), trouble.Close() }()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		_, _ = fmt.Fprint(trouble, err)
		return
	}
	defer func() { _ = connection.Close() }()
	var sending sync.WaitGroup
	sending.Go(func() { _, _ = io.Copy(connection, stream) })
	_, _ = io.Copy(stream, connection)
	_ = stream.Reset()
	sending.Wait()
}
