package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A threat model that names what is not there any more is worse than none.
func TestThreatModelNamesTestsAndPackagesThatExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	own, _ := packages(t)
	for _, p := range own {
		for _, name := range append(p.TestGoFiles, p.XTestGoFiles...) {
			source, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(source), -1) {
				declared[match[1]] = true
			}
		}
	}
	found := 0
	for _, match := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(page), -1) {
		found++
		if !declared[match[1]] {
			t.Errorf("docs/threat-model.md names %s, which there is not", match[1])
		}
	}
	for _, match := range regexp.MustCompile("`((?:internal|sidecar|controllers|test)(?:/[a-z0-9]+)*)`").FindAllStringSubmatch(string(page), -1) {
		found++
		if info, err := os.Stat(filepath.Join("../..", match[1])); err != nil || !info.IsDir() {
			t.Errorf("docs/threat-model.md names the package %s, which there is not", match[1])
		}
	}
	if found < 50 {
		t.Errorf("got %d names, want all of them: are they written in another way now?", found)
	}
	for line := range strings.Lines(string(page)) { // each attack has a test
		cells := strings.Split(line, "|")
		if len(cells) == 5 && !strings.Contains(cells[3], "`Test") && !strings.Contains(cells[3], "`Fuzz") && !strings.Contains(cells[3], "---") && strings.TrimSpace(cells[3]) != "shown by" {
			t.Errorf("docs/threat-model.md names no test for: %s", strings.TrimSpace(cells[1]))
		}
	}
}
