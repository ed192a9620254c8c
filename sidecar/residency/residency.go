// Package residency keeps a program's memory small: it gives back what the program needed to come up and needs no more, and has garbage collected in
// time. It knows the process's own mappings and the runtime's figures, not what the program does.
package residency

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Release gives the heap's free pages back, and takes out of the process those pages of the program's file that were read so far. Initialising packages
// and compiling a policy touch two thirds of the program; serving touches one. What is needed again comes back by itself, from the kernel's
// copy of the file, with a few hundred page faults of less than a microsecond each.
func Release() error {
	debug.FreeOSMemory()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("name of the program's file: %w", err)
	}
	mappings, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("list of mappings: %w", err)
	}
	defer func() { _ = mappings.Close() }() // it was only read
	var from, to uintptr
	var ours bool
	for lines := bufio.NewScanner(mappings); lines.Scan(); {
		line := lines.Text()
		if strings.HasSuffix(line, " "+program) {
			var permissions string
			_, err = fmt.Sscanf(line, "%x-%x %s", &from, &to, &permissions)
			ours = err == nil && strings.HasPrefix(permissions, "r-") && strings.HasSuffix(permissions, "p")
			continue
		}
		// A page that is no longer the file's own, because a linker or a debugger wrote to it, would be lost.
		amount, found := strings.CutPrefix(line, "Anonymous:")
		if !found || !ours {
			continue
		}
		ours = false
		if strings.TrimSpace(amount) != "0 kB" {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("release of pages of the program's file: %w", errno)
		}
	}
	return nil
}

// SmallPages has the kernel give this process, and those that it starts from then on, memory in small pages alone. Where it gives huge ones to
// everybody, each few kB that are in use may hold 2 MB.
func SmallPages() error {
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no huge pages: %w", err)
	}
	return nil
}
