package localnode

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// eager is how often a probe asks until the first success, where its period is longer. It is the one liberty taken with probes, so that a
// demo need not sit out a period: failures are still counted by the time that has passed.
const eager = 200 * time.Millisecond

// checker asks once. Its error says what is wrong.
type checker func(context.Context) error

// newChecker understands the probes that this node plays, addressed to podIP unless the probe says otherwise.
func newChecker(probe *corev1.Probe, container corev1.Container, podIP string) (checker, error) {
	switch {
	case probe.HTTPGet != nil:
		get := probe.HTTPGet
		port, err := portOf(get.Port.IntValue(), get.Port.StrVal, container)
		if err != nil {
			return nil, err
		}
		host := podIP
		if get.Host != "" {
			host = get.Host
		}
		url := strings.ToLower(string(get.Scheme)) + "://" + hostPort(host, port) + "/" + strings.TrimPrefix(get.Path, "/")
		return func(ctx context.Context) error { return askHTTP(ctx, url, get.HTTPHeaders) }, nil
	case probe.TCPSocket != nil:
		port, err := portOf(probe.TCPSocket.Port.IntValue(), probe.TCPSocket.Port.StrVal, container)
		if err != nil {
			return nil, err
		}
		host := podIP
		if probe.TCPSocket.Host != "" {
			host = probe.TCPSocket.Host
		}
		return func(ctx context.Context) error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", hostPort(host, port))
			if err == nil {
				err = conn.Close()
			}
			return err
		}, nil
	}
	return nil, errors.New("of the kinds of probe only httpGet and tcpSocket are played by this node")
}

// probeTransport opens a connection for every probe, follows no proxy and, as a kubelet, checks no certificate.
var probeTransport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}

// askHTTP succeeds on a status from 200 to 399.
func askHTTP(ctx context.Context, url string, headers []corev1.HTTPHeader) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/localnode")
	for _, header := range headers {
		request.Header.Add(header.Name, header.Value)
		if strings.EqualFold(header.Name, "Host") {
			request.Host = header.Value
		}
	}
	response, err := probeTransport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

type health int

const (
	unknown health = iota
	healthy
	unhealthy
)

// watch asks until ctx ends, and reports whenever the verdict changes: true after successThreshold answers in a row, false after
// failureThreshold failures in a row.
func watch(ctx context.Context, probe *corev1.Probe, check checker, report func(healthy bool, last error)) {
	period := time.Duration(probe.PeriodSeconds) * time.Second
	timer := time.NewTimer(time.Duration(probe.InitialDelaySeconds) * time.Second)
	defer timer.Stop()
	var succeeded bool
	var successes int32
	var failingSince time.Time
	verdict := unknown
	settle := func(v health, last error) {
		if verdict != v {
			verdict = v
			report(v == healthy, last)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		attempt, cancel := context.WithTimeout(ctx, time.Duration(probe.TimeoutSeconds)*time.Second)
		err := check(attempt)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			succeeded, failingSince = true, time.Time{}
			if successes++; successes >= probe.SuccessThreshold {
				settle(healthy, nil)
			}
		} else {
			successes = 0
			if failingSince.IsZero() {
				failingSince = time.Now()
			}
			if time.Since(failingSince) >= period*time.Duration(probe.FailureThreshold-1) {
				settle(unhealthy, err)
			}
		}
		next := period
		if !succeeded {
			next = min(next, eager)
		}
		timer.Reset(next)
	}
}
