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
		fmt.Fprintln(os.Stderr, "Usage: images [flags] reference=package[,name=package] ...\n\n"+
			"  images ghcr.io/latchkey-dev/latchkey-sidecar:dev=./cmd/sidecar,latchkey-redirect=./cmd/redirect")
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
		reference, programs, err := parse(request)
		if err != nil {
			return err
		}
		name := programs[0].name
		images := layout{}
		var sizes []string
		for _, text := range platforms {
			system, architecture, ok := strings.Cut(text, "/")
			if !ok {
				return fmt.Errorf("platform %q is not os/architecture", text)
			}
			p := platform{OS: system, Architecture: architecture}
			layers := []layer{base}
			for _, program := range programs {
				built, err := build(ctx, p, program.name, program.pkg)
				if err != nil {
					return fmt.Errorf("%s for %s: %w", reference, text, err)
				}
				layers = append(layers, built)
			}
			if err := images.add(p, name, layers...); err != nil {
				return err
			}
			size := 0
			for _, layer := range layers {
				size += len(layer.compressed)
			}
			sizes = append(sizes, fmt.Sprintf("%s %.1f MB", text, float64(size)/1e6))
		}
		file := filepath.Join(output, name+".tar")
		if err := images.write(file, reference); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
		fmt.Printf("%s  %s  (%s)\n", file, reference, strings.Join(sizes, ", "))
	}
	return nil
}

// program is a file of an image.
type program struct{ name, pkg string }

// parse reads what to pack: reference=package, and programs beside the one that the image starts, each ,name=package.
func parse(request string) (reference string, programs []program, err error) {
	reference, rest, ok := strings.Cut(request, "=")
	first, others, more := strings.Cut(rest, ",")
	if !ok || first == "" {
		return "", nil, fmt.Errorf("%q is not reference=package", request)
	}
	programs = []program{{nameOf(reference), first}}
	for more {
		var each string
		each, others, more = strings.Cut(others, ",")
		name, pkg, ok := strings.Cut(each, "=")
		if !ok || name == "" || pkg == "" {
			return "", nil, fmt.Errorf("%q: %q is not name=package", request, each)
		}
		programs = append(programs, program{name, pkg})
	}
	return reference, programs, nil
}

// nameOf is the last part of an image's reference without its tag: the name of the program in it.
func nameOf(reference string) string {
	name, _, _ := strings.Cut(path.Base(reference), ":")
	return name
}
