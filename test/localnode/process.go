package localnode

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is one running program, in a process group of its own.
type process struct {
	pid    int
	exited chan struct{}
	code   int // set when exited is closed
}

// startProcess starts a program. What it prints is appended to logFile. It dies when this process dies, however that happens.
func startProcess(path string, args, env []string, dir, logFile string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	p := &process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends, so the thread is kept for as long as the process lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait()                 // its outcome is in ProcessState
		p.signalGroup(syscall.SIGKILL) // whatever it started ends with it, as in a container
		p.code = exitCode(cmd.ProcessState)
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// end asks the process to end and waits until it has. After grace, or as soon as kill is closed, it is not asked any more.
func (p *process) end(grace time.Duration, kill <-chan struct{}) {
	_ = syscall.Kill(p.pid, syscall.SIGTERM)
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-p.exited:
		return
	case <-patience.C:
	case <-kill:
	}
	p.signalGroup(syscall.SIGKILL)
	<-p.exited
}

func (p *process) signalGroup(signal syscall.Signal) { _ = syscall.Kill(-p.pid, signal) }

// exitCode is what a container runtime reports: 128 and the number of the signal for a process that a signal ended.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
