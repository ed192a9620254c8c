package servers

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to start, or to end after a kill.
const patience = 60 * time.Second

// Server is a process that can be stopped, killed and started again on what it kept.
type Server struct {
	t       testing.TB
	name    string
	command func() *exec.Cmd // the same each time
	ready   func() error
	log     string // file that its output goes to

	mu      sync.Mutex
	process *exec.Cmd
	done    chan struct{} // closed when process has ended
}

// Start starts the server, and returns when it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	output, err := os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = output.Close() }()
	process := s.command()
	process.Stdout, process.Stderr = output, output
	if process.SysProcAttr == nil {
		process.SysProcAttr = &syscall.SysProcAttr{}
	}
	process.SysProcAttr.Pdeathsig = syscall.SIGKILL // a test that is killed itself leaves nothing behind
	started := make(chan error)
	done := make(chan struct{})
	go func() {
		// The thread that starts a process must live as long as the process: its death is what Pdeathsig listens for.
		unlock := lockThread()
		defer unlock()
		err := process.Start()
		started <- err
		if err == nil {
			_ = process.Wait() // how it ended is for the log
			close(done)
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	s.process, s.done = process, done
	s.await()
}

// await waits until the server answers.
func (s *Server) await() {
	s.t.Helper()
	late := time.After(patience)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := s.ready()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-s.done:
			s.t.Fatalf("%s ended: %s", s.name, s.output())
		case <-late:
			s.t.Fatalf("%s does not answer: %v\n%s", s.name, err, s.output())
		}
	}
}

func (s *Server) output() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// Kill ends the server without any warning, and returns when nothing is left of it. A server that does not run is left as it is.
func (s *Server) Kill() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	parent := s.process.Process.Pid
	_ = syscall.Kill(parent, syscall.SIGSTOP) // so that it starts no more processes while they are counted
	pids := family(parent)
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // of one that has ended meanwhile, nothing is left to kill
	}
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Errorf("%s survives SIGKILL", s.name)
	}
	// A PostgreSQL does not start on data that a process of the one before still has hold of.
	for late := time.Now().Add(patience); slices.ContainsFunc(pids, lives); <-time.After(time.Millisecond) {
		if time.Now().After(late) {
			s.t.Errorf("processes of %s survive SIGKILL", s.name)
			break
		}
	}
	s.process = nil
}

// Freeze stops the server as a machine does that hangs: connections stay open, and nobody answers.
func (s *Server) Freeze() { s.mu.Lock(); defer s.mu.Unlock(); s.signal(syscall.SIGSTOP) }

// Thaw lets a server go on that was frozen.
func (s *Server) Thaw() { s.mu.Lock(); defer s.mu.Unlock(); s.signal(syscall.SIGCONT) }

// PID is the process that was started.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.Process.Pid
}

// directory makes an empty directory that a server of another user can reach: t.TempDir lies below one that belongs to the test's user alone.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "latchkey-server-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// address is one that nobody else listens on.
func address(t testing.TB) (host string, port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	at := listener.Addr().(*net.TCPAddr)
	return at.IP.String(), at.Port
}

func run(t testing.TB, command *exec.Cmd) {
	t.Helper()
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(command.Path), err, output)
	}
}
