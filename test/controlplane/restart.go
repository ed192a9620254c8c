package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// RestartAPIServer kills kube-apiserver as a crash would, and starts it again. It returns when the API server is ready.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	return c.restart(ctx, "kube-apiserver", "--cert-dir="+c.env.ControlPlane.APIServer.CertDir)
}

// RestartEtcd does the same to etcd, under the feet of the API server.
func (c *Cluster) RestartEtcd(ctx context.Context) error {
	return c.restart(ctx, "etcd", "--data-dir="+c.env.ControlPlane.Etcd.DataDir)
}

// restart restarts the program that was started with an argument that no other has.
func (c *Cluster) restart(ctx context.Context, program, argument string) error {
	pid, args, err := find(program, argument)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", program, err)
	}
	// Whoever started it waits for it; only then its port is free.
	if err := await(ctx, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }); err != nil {
		return fmt.Errorf("%s did not end: %w", program, err)
	}
	again := exec.Command(args[0], args[1:]...)
	again.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the program that started the control plane
	if err := again.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = again.Wait() // that it was killed is known
		close(ended)
	}()
	c.restarted = append(c.restarted, func() {
		_ = again.Process.Kill() // fails for one that has ended
		<-ended
	})
	return c.awaitReady(ctx)
}

// find returns the child of this process that runs a program with this argument among others.
func find(program, argument string) (pid int, args []string, err error) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // fails for a bad pattern only
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		args := strings.Split(string(bytes.TrimSuffix(line, []byte{0})), "\x00")
		if filepath.Base(args[0]) == program && slices.Contains(args, argument) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid, args, err
		}
	}
	return 0, nil, fmt.Errorf("no %s runs with %s", program, argument)
}

func (c *Cluster) awaitReady(ctx context.Context) error {
	api, err := rest.HTTPClientFor(c.Config)
	if err != nil {
		return err
	}
	last := errors.New("not asked yet")
	if err := await(ctx, func() bool {
		var request *http.Request
		if request, last = http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Config.Host, "/")+"/readyz", nil); last != nil {
			return false
		}
		var response *http.Response
		if response, last = api.Do(request); last != nil {
			return false
		}
		response.Body.Close()
		last = errors.New(response.Status)
		return response.StatusCode == http.StatusOK
	}); err != nil {
		return fmt.Errorf("the API server is not ready: %w: %w", err, last)
	}
	return nil
}

// await asks every 20 ms, for a minute at most.
func await(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}
