package residency_test

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/sidecar/residency"
)

var (
	written = "before"
	counted int
)

func TestReleaseGivesPagesBackAndLosesNothing(t *testing.T) {
	written, counted = strings.Repeat("after", 2), 7
	before := filePages(t)
	if err := residency.Release(); err != nil {
		t.Fatal(err)
	}
	if after := filePages(t); after >= before {
		t.Errorf("got %d kB of the program's file resident, want less than the %d kB before", after, before)
	}
	if written != "afterafter" || counted != 7 {
		t.Errorf("got %q and %d, want what was written to stay", written, counted)
	}
	if err := residency.Release(); err != nil {
		t.Errorf("got %v, want it to do so again", err)
	}
}

func TestSmallPagesHoldForProcessesThatAreStartedToo(t *testing.T) {
	if err := residency.SmallPages(); err != nil {
		t.Fatal(err)
	}
	status, err := exec.Command("cat", "/proc/self/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "THP_enabled:\t0\n") {
		t.Errorf("got a process that may have huge pages:\n%s", status)
	}
}

// filePages is how much of files is resident in this process, in kB.
func filePages(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	pages, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

func BenchmarkRelease(b *testing.B) {
	for b.Loop() {
		if err := residency.Release(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestGarbageIsCollectedSoonerTheMoreIsInUse(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	var pace residency.Pace
	percent := func() uint64 {
		runtime.GC()
		pace.Keep()
		set := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(set)
		return set[0].Value.Uint64()
	}
	little := percent()
	much := make([]*[1 << 10]byte, 6<<10)
	for i := range much {
		much[i] = new([1 << 10]byte)
	}
	some := percent()
	more := make([]*[1 << 10]byte, 60<<10)
	for i := range more {
		more[i] = new([1 << 10]byte)
	}
	most := percent()
	runtime.KeepAlive(much)
	runtime.KeepAlive(more)
	if little != 100 || some <= 50 || some >= 100 || most != 50 {
		t.Errorf("got %d, %d and %d percent with little, 6 MiB and 66 MiB in use, want 100, something between 50 and 100, and 50", little, some, most)
	}
}

func BenchmarkPace(b *testing.B) {
	var pace residency.Pace
	pace.Keep()
	b.ReportAllocs()
	for b.Loop() {
		pace.Keep()
	}
}
