package installation

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

// programs are the images that the objects of config/ and examples/ name, what `make build` calls their programs, and what these are built of.
var programs = []struct{ image, name, source string }{
	{"ghcr.io/latchkey-dev/latchkey-manager:dev", "latchkey-manager", "./cmd/manager"},
	{"ghcr.io/latchkey-dev/latchkey-sidecar:dev", "latchkey-sidecar", "./cmd/sidecar"},
	{"ghcr.io/latchkey-dev/latchkey-issuer:dev", "latchkey-issuer", "./cmd/issuer"},
	{"ghcr.io/latchkey-dev/quickstart-app:dev", "quickstart-app", "./examples/quickstart/app"},
}

// Images maps each image to its program in a directory, for a local node.
func Images(dir string) map[string]string {
	images := map[string]string{}
	for _, program := range programs {
		images[program.image] = filepath.Join(dir, program.name)
	}
	return images
}

// Build builds the programs of these names into a directory, as `make build` does; without names, every one.
func Build(ctx context.Context, dir string, names ...string) error {
	for _, program := range programs {
		if len(names) > 0 && !slices.Contains(names, program.name) {
			continue
		}
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, program.name), program.source)
		build.Dir, build.Env = controlplane.Root(), append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", program.source, err, output)
		}
	}
	return nil
}
