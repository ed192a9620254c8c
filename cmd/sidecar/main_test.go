package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the test's own binary be the sidecar: a real process, with signals and an exit code.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_SIDECAR") != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BE_THE_SIDECAR=yes")
	return cmd
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func TestWrongFlagsExitWith2AndSayWhich(t *testing.T) {
	cmd := command("--port=http")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if got := exitCode(cmd.Run()); got != 2 || !strings.Contains(stderr.String(), "-port") {
		t.Errorf("got exit code %d and %q, want 2 and the flag's name", got, stderr.String())
	}
}

func TestHelpGoesToStandardOutput(t *testing.T) {
	output, err := command("--help").Output()
	if err != nil || !strings.Contains(string(output), "-pod-ips") {
		t.Errorf("got %v and %q, want the flags", err, output)
	}
}

func TestStateThatCannotBeWrittenExitsWith1(t *testing.T) {
	cmd := command("--bundle="+t.TempDir(), "--state=/nonexistent", "--pod-ips=127.200.0.1", "--app-host=127.200.0.2", "--port=8080")
	if got := exitCode(cmd.Run()); got != 1 {
		t.Errorf("got exit code %d, want 1", got)
	}
}

func TestSIGTERMEndsItCleanly(t *testing.T) {
	cmd := command("--bundle="+t.TempDir(), "--state="+t.TempDir(), "--pod-ips=127.200.0.1", "--app-host=127.200.0.2", "--port=8080")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if strings.Contains(lines.Text(), `"serving"`) {
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, stderr)
	if got := exitCode(cmd.Wait()); got != 0 {
		t.Errorf("got exit code %d after SIGTERM, want 0", got)
	}
}
