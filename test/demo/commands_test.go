package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestAnObjectIsAppliedByTheCommandAsItIsShown(t *testing.T) {
	for _, w := range wrong {
		copied := "kubectl() { cat; }\n" + indent(applying(w.yaml))
		shown, err := exec.Command("sh", "-c", copied).Output()
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := yaml.UnmarshalStrict(shown, &got); err != nil {
			t.Fatalf("kubectl would read\n%s: %v", shown, err)
		}
		if err := yaml.UnmarshalStrict([]byte(w.yaml), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("kubectl would read (-got +want):\n%s", diff)
		}
	}
}

func TestAProgramIsKilledByItsLongNameAndNoOtherWithIt(t *testing.T) {
	const long = "latchkey-sidecar" // more than the 15 characters that the kernel keeps
	bin := filepath.Join(t.TempDir(), "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	start := func(name string, args ...string) (*exec.Cmd, io.Closer) {
		program := filepath.Join(bin, name)
		if err := os.WriteFile(program, []byte("#!/bin/sh\necho started\nread end\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		command := exec.Command(program, args...)
		in, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = command.Process.Kill() }) // fails for one that has ended
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		return command, in
	}
	sidecar, _ := start(long)
	manager, end := start("latchkey-manager", "--sidecar-image=example.com/"+long+":dev")

	kill := func(parent int) ([]byte, error) {
		words := strings.Fields(killing(parent, long)) // no shell: it would be a child of this process too, and name the program
		return exec.Command(words[0], words[1:]...).CombinedOutput()
	}
	if out, err := kill(sidecar.Process.Pid); err == nil {
		t.Errorf("something of another demo was killed: %s", out)
	}
	if out, err := kill(os.Getpid()); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_ = sidecar.Wait() // says that it was killed
	if got, want := sidecar.ProcessState.Sys().(syscall.WaitStatus).Signal(), syscall.SIGKILL; got != want {
		t.Errorf("the program was ended by %v, want %v", got, want)
	}
	_ = end.Close()
	_ = manager.Wait() // says that its input ended
	if got := manager.ProcessState; !got.Exited() {
		t.Errorf("the program that names the other in its arguments was ended as well: %v", got)
	}
}
