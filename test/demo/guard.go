package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// guardedVariable tells the process that it runs under the guard, and which directory is for its temporary files.
const guardedVariable = "LATCHKEY_DEMO_GUARDED"

const (
	prSetDeathSignal = 1  // PR_SET_PDEATHSIG of prctl(2)
	prSetSubreaper   = 36 // PR_SET_CHILD_SUBREAPER
)

// guard runs the demo proper as a child, and sees to it that nothing is left behind, even by a demo that is killed: processes that lose their
// parent become children of the guard, which ends them, and all temporary files are below a directory that it removes. When the guard itself
// is killed the demo is told, and cleans up as after Ctrl-C.
func guard() int {
	prctl(prSetSubreaper, 1)
	prctl(prSetDeathSignal, uintptr(syscall.SIGTERM)) // `go run` and make do not pass on that they were ended

	temporary, err := os.MkdirTemp("", "latchkey-demo-")
	if err != nil {
		return complain(err)
	}
	code := watchOver(temporary)
	endChildren()
	if err := os.RemoveAll(temporary); err != nil {
		return complain(err)
	}
	return code
}

// outliveReaders makes writing to a pipe that nobody reads any more fail, where it would end this process: of `make demo | tee log`, Ctrl-C
// ends tee as well, and everything must be cleaned up all the same.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "demo:", err)
	return 1
}

// watchOver runs the demo proper to its end, and returns its exit code.
func watchOver(temporary string) int {
	self, err := os.Executable()
	if err != nil {
		return complain(err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	demo := exec.Command(self, os.Args[1:]...)
	demo.Stdout, demo.Stderr = os.Stdout, os.Stderr
	demo.Env = append(os.Environ(), guardedVariable+"="+temporary, "TMPDIR="+temporary)
	// In a process group of its own, so that Ctrl-C comes here first and a second one can end what does not end by itself.
	demo.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err = demo.Start(); err != nil {
		return complain(err)
	}
	go func() {
		<-signals
		asked := time.Now()
		_ = demo.Process.Signal(syscall.SIGTERM)
		for range signals {
			if time.Since(asked) > time.Second { // sooner, it is the first one over again, passed on by make or `go run`
				_ = demo.Process.Kill()
			}
		}
	}()

	err = demo.Wait()
	if code := demo.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return complain(err) // a signal ended it
}

// endChildren kills every child that is left, and theirs as they become ours, until there are none.
func endChildren() {
	for {
		for _, pid := range children() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			return // ECHILD
		}
	}
}

func children() []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // fails for a bad pattern only
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		// pid (name) state ppid ...; the name may hold anything, parentheses too
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// prctl sets a property of this process. Where the kernel does not know it there is nothing to be done about it.
func prctl(option int, value uintptr) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, uintptr(option), value, 0)
}
