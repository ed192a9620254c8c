package explain

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// maxAnswer bounds what a pod may answer: 256 decisions take about a quarter of it.
const maxAnswer = 1 << 20

// ask returns the recent decisions of a pod. Sidecars tell them inside their pod alone, so the API server is asked for a way there, as
// `kubectl port-forward` does; no port is opened here.
func ask(ctx context.Context, config *rest.Config, client kubernetes.Interface, pod *corev1.Pod) ([]Decision, error) {
	connection, err := dial(config, client, pod)
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	defer context.AfterFunc(ctx, func() { _ = connection.Close() })()

	headers := http.Header{}
	headers.Set(corev1.PortHeader, adminPort)
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	trouble, err := connection.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("open a way to its sidecar: %w", err)
	}
	_ = trouble.Close() // nothing is said over it from here
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := connection.CreateStream(headers)
	if err != nil {
		return nil, fmt.Errorf("open a way to its sidecar: %w", err)
	}
	recent, err := decisions(data)
	if err != nil {
		said, _ := io.ReadAll(io.LimitReader(trouble, 512)) // the kubelet's reason; none where the fault is the pod's
		return nil, fmt.Errorf("ask its sidecar: %w", cmp.Or(errors.Join(ctx.Err(), spoken(said)), err))
	}
	return recent, nil
}

func spoken(said []byte) error {
	if len(said) == 0 {
		return nil
	}
	return errors.New(shown(string(said)))
}

func dial(config *rest.Config, client kubernetes.Interface, pod *corev1.Pod) (httpstream.Connection, error) {
	url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	websocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, config)
	if err != nil {
		return nil, err
	}
	dialer := portforward.NewFallbackDialerForStreaming(websocket, spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url),
		func(err error) bool { return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err) })
	connection, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	return connection, err
}

// decisions asks for them, on a way that ends at a sidecar's admin port.
func decisions(way io.ReadWriter) ([]Decision, error) {
	request, err := http.NewRequest(http.MethodGet, "http://localhost/decisions", nil) //nolint:noctx // the way ends with its context
	if err != nil {
		return nil, err
	}
	request.Close = true
	if err = request.Write(way); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(io.LimitReader(way, maxAnswer)), request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %d", response.StatusCode)
	}
	var recent []Decision
	if err = json.NewDecoder(response.Body).Decode(&recent); err != nil {
		return nil, fmt.Errorf("read its decisions: %w", err)
	}
	return recent, nil
}
