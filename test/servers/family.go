package servers

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

func lockThread() (unlock func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// signal sends a signal to the server and all processes that it started: those of PostgreSQL leave its process group.
func (s *Server) signal(signal syscall.Signal) {
	if s.process == nil {
		return
	}
	for _, pid := range family(s.process.Process.Pid) {
		_ = syscall.Kill(pid, signal) // of one that has ended meanwhile, nothing is left to signal
	}
}

// lives reports whether a process has not ended yet. One that only waits for somebody to ask how it ended has.
func lives(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	after := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(after) > 0 && string(after[0]) != "Z"
}

// family is a process and its children.
func family(parent int) []int {
	pids := []int{parent}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		// pid (name) state ppid: the name may hold anything, so the last bracket counts.
		after := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(after) > 1 && string(after[1]) == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
