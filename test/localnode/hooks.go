package localnode

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// newPreStop understands the hooks that this node plays: sleep, and httpGet whose outcome nobody looks at.
func newPreStop(container corev1.Container, podIP string) (func(context.Context), error) {
	if container.Lifecycle == nil {
		return func(context.Context) {}, nil
	}
	hook := container.Lifecycle.PreStop
	switch {
	case container.Lifecycle.PostStart != nil:
		return nil, errors.New("postStart is not played by this node")
	case hook == nil:
		return func(context.Context) {}, nil
	case hook.Sleep != nil:
		return func(ctx context.Context) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(hook.Sleep.Seconds) * time.Second):
			}
		}, nil
	case hook.HTTPGet != nil && (hook.HTTPGet.Scheme == "" || hook.HTTPGet.Scheme == corev1.URISchemeHTTP):
		port, err := portOf(hook.HTTPGet.Port.IntValue(), hook.HTTPGet.Port.StrVal, container)
		if err != nil {
			return nil, err
		}
		url := "http://" + hostPort(podIP, port) + "/" + strings.TrimPrefix(hook.HTTPGet.Path, "/")
		return func(ctx context.Context) {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return
			}
			if response, err := probeTransport.RoundTrip(request); err == nil {
				_ = response.Body.Close()
			}
		}, nil
	}
	return nil, errors.New("of the kinds of preStop only sleep and httpGet are played by this node")
}
