package managerload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/latchkey-dev/latchkey/internal/profile"
)

// manager is a running manager. One that ends by itself is started again, as a kubelet would: on a machine that is busy with other things it may not hear of
// the API server for so long that it gives up its lease.
type manager struct {
	admin   string
	profile string // "": it is not profiled
	exited  chan struct{}

	mu      sync.Mutex
	command *exec.Cmd
	ending  bool
}

// startManager starts a manager as its Deployment would, with its log in a file, and to be profiled if that is asked for.
func startManager(program, kubeconfig, webhookAddress, logFile string, profiled bool) (*manager, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	var ports [3]string
	for i := range ports {
		if ports[i], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	m := &manager{admin: ports[0], exited: make(chan struct{})}
	args := []string{"--namespace=latchkey-system", "--sidecar-image=example.com/sidecar:1", "--issuer-image=example.com/issuer:1",
		"--leader-elect", "--webhook-address=" + webhookAddress, "--health-address=" + ports[0], "--metrics-address=" + ports[1]}
	if profiled {
		m.profile = ports[2]
		args = append(args, "--profile-address="+m.profile)
	}
	begin := func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.ending {
			return errors.New("the manager was told to end")
		}
		m.command = exec.Command(program, args...)
		m.command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "GOGC=50") // as its Deployment says
		m.command.Stdout, m.command.Stderr = log, log
		return m.command.Start()
	}
	if err := begin(); err != nil {
		return nil, err
	}
	go func() {
		defer close(m.exited)
		defer func() { _ = log.Close() }() // it is for who looks into a failure
		for err := error(nil); err == nil; err = begin() {
			_ = m.command.Wait() // how it ended does not matter: its log says so
		}
	}()
	return m, nil
}

// ready says whether the manager says that it is.
func (m *manager) ready(ctx context.Context) (bool, string) {
	select {
	case <-m.exited:
		return false, "it has ended"
	default:
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.admin+"/readyz", nil)
	if err != nil {
		return false, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err.Error()
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK, response.Status
}

// keepProfile writes a profile of the manager to a file; a profile of CPU time is there when its seconds are over.
func (m *manager) keepProfile(name, file string) error {
	if m.profile == "" {
		return nil
	}
	response, err := http.Get("http://" + m.profile + profile.Path + name)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", name, response.Status, body)
	}
	return errors.Join(err, os.WriteFile(file, body, 0o600))
}

// kill ends the manager without a word to anybody; stop lets it hand over its lease.
func (m *manager) kill() { m.end(syscall.SIGKILL) }
func (m *manager) stop() { m.end(syscall.SIGTERM) }

func (m *manager) end(signal syscall.Signal) {
	m.mu.Lock()
	m.ending = true
	_ = m.command.Process.Signal(signal) // fails for one that has ended
	m.mu.Unlock()
	<-m.exited
}

// usage is what a process has used so far.
type usage struct {
	cpu       time.Duration
	rss, peak int // MB
}

func (m *manager) usage() (usage, error) {
	m.mu.Lock()
	directory := fmt.Sprintf("/proc/%d/", m.command.Process.Pid)
	m.mu.Unlock()
	stat, err := os.ReadFile(directory + "stat")
	if errors.Is(err, fs.ErrNotExist) { // it is just being started again
		return usage{}, nil
	}
	if err != nil {
		return usage{}, err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after) // from the third on: proc_pid_stat(5)
	if len(fields) < 13 {
		return usage{}, errors.New("the kernel says nothing of CPU time")
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return usage{}, err
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		return usage{}, err
	}
	const tick = time.Second / 100 // USER_HZ
	u := usage{cpu: time.Duration(user+system) * tick}
	status, err := os.ReadFile(directory + "status")
	if err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); n == 1 {
			u.rss = kilobytes / 1000
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); n == 1 {
			u.peak = kilobytes / 1000
		}
	}
	return u, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
