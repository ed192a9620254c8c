//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

// Readers type what stands between the fences. So the blocks marked sh are carried out in their order, from an empty cluster to an empty cluster.
func TestTheOperationsPage(t *testing.T) {
	must(t, leave(t.Context()))
	t.Cleanup(func() {
		if t.Failed() {
			_, _ = output(context.Background(), "kubectl", "delete", "--ignore-not-found", "--timeout", patience.String(), "namespace", "quickstart")
			_, _ = output(context.Background(), "go", helm("uninstall", "latchkey", "--namespace", system, "--ignore-not-found", "--wait", "--timeout", patience.String())...)
		}
	})
	showWhenFailed(t, "quickstart")
	showWhenFailed(t, system)

	page, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", "operations.md"))
	must(t, err)
	blocks := shellBlocks(string(page))
	if len(blocks) < 8 {
		t.Fatalf("got %d blocks to carry out, want the page's", len(blocks))
	}
	// Readers have a program of that name.
	bin := t.TempDir()
	must(t, os.WriteFile(filepath.Join(bin, "helm"), []byte("#!/bin/sh\nexec go tool -modfile=tools/go.mod helm \"$@\"\n"), 0o700))
	for _, block := range blocks {
		script := fmt.Sprintf("set -euo pipefail\nPATH=%s:$PATH\n%s", bin, block)
		if _, err := output(t.Context(), "bash", "-c", script); err != nil {
			t.Fatal(err)
		}
	}

	for _, line := range strings.Fields(run(t, "kubectl", "get", "--output", "name",
		"namespaces,crds,clusterroles,clusterrolebindings,priorityclasses,mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings")) {
		if strings.Contains(line, "latchkey") || strings.Contains(line, "quickstart") {
			t.Errorf("left behind: %s", line)
		}
	}
}

// shellBlocks are what stands between ```sh and ``` in Markdown.
func shellBlocks(markdown string) []string {
	var blocks []string
	for i, part := range strings.Split("\n"+markdown, "\n```") {
		if block, ok := strings.CutPrefix(part, "sh\n"); ok && i%2 == 1 {
			blocks = append(blocks, block)
		}
	}
	return blocks
}
