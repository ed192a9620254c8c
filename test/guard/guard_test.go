package guard

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// asWriter is set in the environment of a test binary that is to write to whoever reads, and then to clean up.
const asWriter = "LATCHKEY_TEST_WRITER"

func TestMain(m *testing.M) {
	if os.Getenv(asWriter) != "" {
		outliveReaders()
		_, failed := fmt.Println("Stopping.")
		if failed != nil {
			os.Exit(7) // cleaned up
		}
		return
	}
	os.Exit(m.Run())
}

func TestWhatIsCleanedUpIsCleanedUpThoughNobodyReadsTheOutput(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	writer := exec.Command(os.Args[0])
	writer.Env = append(os.Environ(), asWriter+"=1")
	writer.Stdout = write
	if err := writer.Run(); writer.ProcessState == nil {
		t.Fatal(err)
	}
	if got, want := writer.ProcessState.String(), "exit status 7"; got != want {
		t.Errorf("it ended with %q, want %q", got, want)
	}
}
