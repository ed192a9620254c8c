package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

// Where a pod shares its process namespace, its containers see each other's processes; and many images have the sidecar's user. The memory of both of its
// processes holds tokens and keys, and so do its files, which are below its root.
func TestNobodyOfTheSameUserReadsWhatTheSidecarHolds(t *testing.T) {
	const user = 65532
	as := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	directory, err := os.MkdirTemp("", "latchkey") // not below this test's own, where others may not go
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	program, state := filepath.Join(directory, "latchkey-sidecar"), filepath.Join(directory, "state")
	must(t, "cp", build(t), program)
	document, err := (&bundle.Bundle{Policy: policy.Document{Rules: []policy.Rule{{Access: policy.AccessAnonymous}}}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(directory, bundle.FileName), document)
	must(t, "mkdir", state)
	must(t, "chown", "-R", strconv.Itoa(user), directory)
	must(t, "chmod", "-R", "u=rwX,go=rX", directory)

	sidecar := exec.Command(program, "--bundle="+directory, "--state="+state, "--pod-ips=127.202.0.1", "--app-host=127.202.0.2", "--port=8080", "--drain=1s")
	sidecar.SysProcAttr = as
	stderr, err := sidecar.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "600") // a process that does nothing about it
	other.SysProcAttr = as
	for _, process := range []*exec.Cmd{sidecar, other} {
		if err = process.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = process.Process.Signal(syscall.SIGTERM)
			_ = process.Wait()
		})
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), `"serving"`) {
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }()

	reads := func(pid, what string) bool {
		look := exec.Command("ls", filepath.Join("/proc", pid, what))
		if what == "environ" || what == "maps" {
			look = exec.Command("head", "-c1", filepath.Join("/proc", pid, what))
		}
		look.SysProcAttr = as
		return look.Run() == nil
	}
	own := append(children(t, sidecar.Process.Pid), strconv.Itoa(sidecar.Process.Pid))
	if len(own) != 2 {
		t.Fatalf("got processes %q, want a parent and its child", own)
	}
	for _, what := range []string{"environ", "maps", "fd/", "root/"} {
		for _, pid := range own {
			if reads(pid, what) {
				t.Errorf("got %s of the sidecar's process, want it refused", what)
			}
		}
		if !reads(strconv.Itoa(other.Process.Pid), what) {
			t.Errorf("got no %s of another process: nothing is shown by this test", what)
		}
	}
	response, err := http.Get("http://127.202.0.1:15020/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if said, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(said), "\nprocess_open_fds ") {
		t.Errorf("got %v and metrics without the process's own, want it to see itself", err)
	}
}
