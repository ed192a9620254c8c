// Package guard runs a program that starts many processes, such that none is left behind however it ends. It knows processes and temporary
// files, and nothing of what the program does.
package guard

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

const (
	prSetDeathSignal = 1  // PR_SET_PDEATHSIG of prctl(2)
	prSetSubreaper   = 36 // PR_SET_CHILD_SUBREAPER
)

// Main is for the main function of a program, or TestMain. It runs this executable once more, with the same arguments, and the program in
// there, which should end soon after SIGTERM. It sees to it that nothing is left behind, even by a program that is killed: processes that lose
// their parent become children of the guard, which ends them, and os.TempDir is a directory of the program's own, which is removed. When the guard
// itself is killed the program gets SIGTERM, and should end its processes as after Ctrl-C, and catch the signal until it has. The name, in
// small letters, tells guarded programs apart where one starts another. Main returns the exit code.
func Main(name string, program func() int) int {
	outliveReaders()
	// It tells the process that it runs under the guard, and which directory is for its temporary files.
	variable := "LATCHKEY_" + strings.ToUpper(name) + "_GUARDED"
	if temporary := os.Getenv(variable); temporary != "" {
		code := program()
		if err := os.RemoveAll(temporary); err != nil { // the guard's business, unless it was killed
			return complain(err)
		}
		return code
	}
	prctl(prSetSubreaper, 1)
	prctl(prSetDeathSignal, uintptr(syscall.SIGTERM)) // `go run` and make do not pass on that they were ended

	temporary, err := os.MkdirTemp("", "latchkey-"+name+"-")
	if err != nil {
		return complain(err)
	}
	code := watchOver(variable+"="+temporary, "TMPDIR="+temporary)
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
	fmt.Fprintln(os.Stderr, "guard:", err)
	return 1
}

// watchOver runs the program to its end, and returns its exit code.
func watchOver(env ...string) int {
	self, err := os.Executable()
	if err != nil {
		return complain(err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	program := exec.Command(self, os.Args[1:]...)
	program.Stdout, program.Stderr = os.Stdout, os.Stderr
	program.Env = append(os.Environ(), env...)
	// In a process group of its own, so that Ctrl-C comes here first and a second one can end what does not end by itself.
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err = program.Start(); err != nil {
		return complain(err)
	}
	go func() {
		<-signals
		asked := time.Now()
		_ = program.Process.Signal(syscall.SIGTERM)
		for range signals {
			if time.Since(asked) > time.Second { // sooner, it is the first one over again, passed on by make or `go run`
				_ = program.Process.Kill()
			}
		}
	}()

	err = program.Wait()
	if code := program.ProcessState.ExitCode(); code >= 0 {
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
