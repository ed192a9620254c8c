// Package keeper keeps a program at work as a child of this process, which holds what must not be let go of while the program is away: sockets. It
// knows processes, not what they do.
package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	// aborted is the exit code of a child that could not start, or go on, for a reason that starting it again does not change.
	aborted = 1
	// killed is the exit code in place of a signal's.
	killed = 2
	// steady is how long a child must have lived for its end to be an accident.
	steady = 10 * time.Second
	// The pause before a child is started again after it ended early: none after the first such end, then twice as long each time.
	firstPause, lastPause = 50 * time.Millisecond, 5 * time.Second
)

// Keep starts the program of path with args, and starts it again when it ends, until ctx ends: then it is sent SIGTERM and waited for. Files are its
// descriptors from 3 on. Keep returns the exit code that this process should end with: the child's last one, or that of a first child which said
// that it cannot start.
func Keep(ctx context.Context, path string, args []string, files []*os.File, log *slog.Logger) int {
	// A child is told of the end of the thread that started it: that must not end before the process does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var pause time.Duration
	for first := true; ; first = false {
		began := time.Now()
		code, how := once(ctx, path, args, files)
		lived := time.Since(began)
		if ctx.Err() != nil || first && code == aborted && lived < steady {
			return code
		}
		log.Error("the data plane has ended, and is started again; its sockets stay open", "how", how, "lived", lived.String())
		if lived >= steady {
			pause = 0
		}
		select {
		case <-ctx.Done():
			return code
		case <-time.After(pause):
		}
		pause = min(max(2*pause, firstPause), lastPause)
	}
}

// once runs the program to its end.
func once(ctx context.Context, path string, args []string, files []*os.File) (code int, how string) {
	command := exec.CommandContext(ctx, path, args...) // #nosec G204 -- this very program, with its own arguments
	command.Stdout, command.Stderr, command.ExtraFiles = os.Stdout, os.Stderr, files
	// Nobody may be left who serves on sockets that a next parent will want to bind.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	err := command.Run()
	if command.ProcessState == nil {
		return aborted, fmt.Sprintf("not started: %v", err)
	}
	if code = command.ProcessState.ExitCode(); code < 0 { // a signal
		code = killed
	}
	return code, command.ProcessState.String()
}
