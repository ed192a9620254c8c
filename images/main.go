// Command images packs static binaries of this repository into container images, without Docker: an OCI archive for each, which containerd,
// skopeo and kind read. It is started in the root of the repository. The same sources and the same Go give the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	output := flag.String("output", "bin/images", "`directory` that the archives are written to")
	platforms := flag.String("platforms", "linux/amd64,linux/arm64", "what to build for, as `os/architecture,...`")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "Usage: images [flags] reference=package ...\n\n  images ghcr.io/latchkey-dev/latchkey-sidecar:dev=./cmd/sidecar")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *output, strings.Split(*platforms, ","), flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, output string, platforms, requests []string) error {
	if len(requests) == 0 {
		return errors.New("nothing to pack: --help says how to ask")
	}
	base, err := baseLayer()
	if err != nil {
		return err
	}
	for _, request := range requests {
		reference, pkg, ok := strings.Cut(request, "=")
		if !ok {
			return fmt.Errorf("%q is not reference=package", request)
		}
		name := nameOf(reference)
		images := layout{}
		var sizes []string
		for _, text := range platforms {
			system, architecture, ok := strings.Cut(text, "/")
			if !ok {
				return fmt.Errorf("platform %q is not os/architecture", text)
			}
			p := platform{OS: system, Architecture: architecture}
			program, err := build(ctx, p, name, pkg)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", reference, text, err)
			}
			if err := images.add(p, name, base, program); err != nil {
				return err
			}
			sizes = append(sizes, fmt.Sprintf("%s %.1f MB", text, float64(len(base.compressed)+len(program.compressed))/1e6))
		}
		file := filepath.Join(output, name+".tar")
		if err := images.write(file, reference); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
		fmt.Printf("%s  %s  (%s)\n", file, reference, strings.Join(sizes, ", "))
	}
	return nil
}

// nameOf is the last part of an image's reference without its tag: the name of the program in it.
func nameOf(reference string) string {
	name, _, _ := strings.Cut(path.Base(reference), ":")
	return name
}
