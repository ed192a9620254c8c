package chart_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

// A dashboard that asks for what nobody counts shows nothing, and nobody notices.
func TestDashboardsAskForMetricsThatThereAre(t *testing.T) {
	counted := metrics(t)
	files, err := filepath.Glob(filepath.Join(controlplane.Root(), chart, "files", "dashboards", "*.json"))
	must(t, err)
	if len(files) == 0 {
		t.Fatal("got no dashboards")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		var dashboard struct {
			UID, Title string
			Panels     []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		must(t, json.Unmarshal(text, &dashboard))
		if dashboard.UID == "" || dashboard.Title == "" || len(dashboard.Panels) == 0 {
			t.Errorf("%s has no uid, no title or no panels", file)
		}
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				asked := regexp.MustCompile(`latchkey_[a-z_]+`).FindAllString(target.Expr, -1)
				if len(asked) == 0 {
					t.Errorf("%s: %s: %q asks for nothing of Latchkey's", filepath.Base(file), panel.Title, target.Expr)
				}
				for _, name := range asked {
					base := name
					for _, suffix := range []string{"_bucket", "_count"} { // of a histogram
						base = strings.TrimSuffix(base, suffix)
					}
					if !counted[name] && !counted[base] {
						t.Errorf("%s: %s: nobody counts %s", filepath.Base(file), panel.Title, name)
					}
				}
			}
		}
	}
}

// metrics are the names in the code of what is counted; the sidecar puts its prefix before the names of some.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	named := regexp.MustCompile(`(?:Name: +|NewDesc\(|(?:counter|gauge)\(\s*)"([a-z_]+)"`)
	found := map[string]bool{}
	for _, directory := range []string{"controllers", "internal", "sidecar"} {
		must(t, filepath.WalkDir(filepath.Join(controlplane.Root(), directory), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, match := range named.FindAllStringSubmatch(string(text), -1) {
				name := match[1]
				if !strings.HasPrefix(name, "latchkey_") {
					name = "latchkey_sidecar_" + name
				}
				found[name] = true
			}
			return err
		}))
	}
	return found
}
