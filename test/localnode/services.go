package localnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// services listens on the cluster addresses of Services, and passes each TCP connection on to a ready pod.
type services struct {
	client client.Client
	log    *slog.Logger

	mu        sync.Mutex
	listeners map[types.NamespacedName]map[string]net.Listener // Service -> address -> listener
	work      sync.WaitGroup
	closing   chan struct{}
}

func (s *services) setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("services").For(&corev1.Service{}).WithOptions(options).Complete(s)
}

// Reconcile opens the listeners that a Service asks for and closes those that it does not ask for any more.
func (s *services) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var service corev1.Service
	if err := s.client.Get(ctx, request.NamespacedName, &service); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	wanted := map[string]int32{}
	if ip := service.Spec.ClusterIP; ip != "" && ip != corev1.ClusterIPNone && len(service.Spec.Selector) > 0 {
		for _, port := range service.Spec.Ports {
			if port.Protocol == corev1.ProtocolTCP {
				wanted[hostPort(ip, int(port.Port))] = port.Port
			}
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.listeners[request.NamespacedName]
	if open == nil {
		open = map[string]net.Listener{}
		s.listeners[request.NamespacedName] = open
	}
	for address, listener := range open {
		if _, ok := wanted[address]; !ok {
			_ = listener.Close()
			delete(open, address)
		}
	}
	var all error
	for address, port := range wanted {
		if open[address] != nil {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			all = errors.Join(all, fmt.Errorf("service %s: %w", request, err))
			continue
		}
		open[address] = listener
		s.work.Go(func() { s.serve(listener, request.NamespacedName, port) })
	}
	return reconcile.Result{}, all
}

func (s *services) serve(listener net.Listener, service types.NamespacedName, port int32) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed
		}
		s.work.Go(func() { s.forward(conn.(*net.TCPConn), service, port) })
	}
}

// forward passes one connection on. Where no pod is ready the caller sees a reset, as it does with kube-proxy.
func (s *services) forward(caller *net.TCPConn, service types.NamespacedName, port int32) {
	defer func() { _ = caller.Close() }()
	backend, err := s.backend(service, port)
	var conn net.Conn
	if err == nil {
		conn, err = net.Dial("tcp", backend)
	}
	if err != nil {
		s.log.Info("connection refused", "service", service, "reason", err.Error())
		_ = caller.SetLinger(0)
		return
	}
	pod := conn.(*net.TCPConn)
	defer func() { _ = pod.Close() }()

	var halves sync.WaitGroup
	halves.Go(func() { pipe(pod, caller) })
	halves.Go(func() { pipe(caller, pod) })
	done := make(chan struct{})
	go func() { halves.Wait(); close(done) }()
	select {
	case <-done:
	case <-s.closing:
	}
}

// pipe copies one direction and passes its end on.
func pipe(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.SetLinger(0) // an end that was not orderly is passed on as such
		_ = to.Close()
		return
	}
	_ = to.CloseWrite()
}

// backend picks one of the ready pods that a Service selects.
func (s *services) backend(name types.NamespacedName, port int32) (string, error) {
	ctx := context.Background() // reads come from the cache
	var service corev1.Service
	if err := s.client.Get(ctx, name, &service); err != nil {
		return "", err
	}
	var pods corev1.PodList
	if err := s.client.List(ctx, &pods, client.InNamespace(name.Namespace), client.MatchingLabelsSelector{
		Selector: labels.SelectorFromSet(service.Spec.Selector),
	}); err != nil {
		return "", err
	}
	rand.Shuffle(len(pods.Items), func(i, j int) { pods.Items[i], pods.Items[j] = pods.Items[j], pods.Items[i] })
	for _, pod := range pods.Items {
		if !Ready(&pod) {
			continue
		}
		for _, p := range service.Spec.Ports {
			if p.Port == port {
				target, err := portOf(p.TargetPort.IntValue(), p.TargetPort.StrVal, append(pod.Spec.InitContainers, pod.Spec.Containers...)...)
				return hostPort(pod.Status.PodIP, target), err
			}
		}
	}
	return "", errors.New("no ready pod behind it")
}

// stop closes every listener and every connection.
func (s *services) stop() {
	close(s.closing)
	s.mu.Lock()
	for _, open := range s.listeners {
		for _, listener := range open {
			_ = listener.Close()
		}
	}
	s.mu.Unlock()
	s.work.Wait()
}
