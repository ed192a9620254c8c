package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/internal/password"
)

// asCommand is set in the environment of a test binary that is to be the command.
const asCommand = "LATCHKEY_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// latchkey runs the command.
func latchkey(t *testing.T, stdin string, args ...string) (exitCode int, stdout, stderr string) {
	t.Helper()
	command := exec.Command(os.Args[0], args...)
	command.Env = append(os.Environ(), asCommand+"=1")
	command.Stdin = strings.NewReader(stdin)
	var out, messages bytes.Buffer
	command.Stdout, command.Stderr = &out, &messages
	if err := command.Run(); err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String(), messages.String()
}

func TestHashPassword(t *testing.T) {
	for _, tc := range []struct{ name, stdin, password string }{
		{"reads a line", "correct horse\n", "correct horse"},
		{"reads a line without an end", "correct horse", "correct horse"},
		{"reads a line from Windows", "correct horse\r\n", "correct horse"},
		{"keeps white space", "  correct horse \n", "  correct horse "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, messages := latchkey(t, tc.stdin, "hash-password")
			if code != 0 || messages != "" {
				t.Fatalf("got exit code %d: %s", code, messages)
			}
			hash, err := password.Parse(strings.TrimSuffix(out, "\n"))
			if err != nil {
				t.Fatal(err)
			}
			if !hash.Matches([]byte(tc.password)) {
				t.Error("the hash is of another password")
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		name, stdin, args string
		code              int
		stdout, stderr    string
	}{
		{"asks for a command", "", "", 2, "", "latchkey: a command is required"},
		{"refuses an unknown command", "", "hash", 2, "", `latchkey: unknown command "hash"`},
		{"helps", "", "--help", 0, "hash-password", ""},
		{"tells its version", "", "version", 0, "latchkey ", ""},
		{"refuses arguments of version", "", "version 2", 2, "", `version: unexpected argument "2"`},
		{"helps with a command", "", "hash-password --help", 0, "-memory KiB", ""},
		{"refuses a password as an argument", "", "hash-password hunter2", 2, "", "the password comes from standard input"},
		{"refuses an unknown flag", "", "hash-password --rounds=3", 2, "", "flag provided but not defined: -rounds"},
		{"refuses two lines", "a\nb\n", "hash-password", 1, "", "standard input has more than one line"},
		{"refuses a password in another encoding", "caf\xe9\n", "hash-password", 1, "", "the password is not UTF-8"},
		{"refuses an empty password", "\n", "hash-password", 1, "", "the password is empty"},
		{"refuses a password that is a file", strings.Repeat("a", 5000), "hash-password", 1, "", "the password is longer than 1024 bytes"},
		{"refuses a hash that is too cheap", "a", "hash-password --memory=8192 --time=1", 1, "", "too cheap to search"},
		{"refuses a hash that is too dear", "a", "hash-password --memory=99999999999", 1, "", "must be between 7168 and 131072"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := latchkey(t, tc.stdin, strings.Fields(tc.args)...)
			if code != tc.code {
				t.Errorf("exit code: got %d, want %d", code, tc.code)
			}
			if !strings.Contains(stdout, tc.stdout) || tc.stdout == "" && stdout != "" {
				t.Errorf("stdout: got %q, want %q", stdout, tc.stdout)
			}
			if !strings.Contains(stderr, tc.stderr) || tc.stderr == "" && stderr != "" {
				t.Errorf("stderr: got %q, want %q", stderr, tc.stderr)
			}
			if strings.Contains(stderr, "hunter2") {
				t.Error("the password is repeated")
			}
		})
	}
}
