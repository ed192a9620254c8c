package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// layer is a gzipped tar of some files.
type layer struct {
	compressed []byte
	diffID     string // the digest of what is compressed
}

// file is a file of an image. All belong to root, and have no times.
type file struct {
	name    string
	mode    int64
	content []byte
}

func newLayer(files ...file) (layer, error) {
	var whole bytes.Buffer
	w := tar.NewWriter(&whole)
	made := map[string]bool{".": true}
	for _, f := range files {
		if err := parents(w, made, path.Dir(f.name)); err != nil {
			return layer{}, err
		}
		if err := add(w, f); err != nil {
			return layer{}, err
		}
	}
	if err := w.Close(); err != nil {
		return layer{}, err
	}
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	if _, err := z.Write(whole.Bytes()); err != nil {
		return layer{}, err
	}
	if err := z.Close(); err != nil {
		return layer{}, err
	}
	return layer{compressed: compressed.Bytes(), diffID: digest(whole.Bytes())}, nil
}

func parents(w *tar.Writer, made map[string]bool, directory string) error {
	if made[directory] {
		return nil
	}
	if err := parents(w, made, path.Dir(directory)); err != nil {
		return err
	}
	made[directory] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: directory + "/", Mode: 0o755})
}

func add(w *tar.Writer, f file) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content))}); err != nil {
		return err
	}
	_, err := w.Write(f.content)
	return err
}

// build compiles a program into a layer of its own: one file, in the root.
func build(ctx context.Context, p platform, name, pkg string) (layer, error) {
	directory, err := os.MkdirTemp("", "latchkey-images-")
	if err != nil {
		return layer{}, err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	binary := filepath.Join(directory, name)
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, pkg) // #nosec G204 -- what to build is the command's argument
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture)
	command.Stderr = os.Stderr
	if err = command.Run(); err != nil {
		return layer{}, fmt.Errorf("go build %s: %w", pkg, err)
	}
	content, err := os.ReadFile(binary) // #nosec G304 -- it was just built
	if err != nil {
		return layer{}, err
	}
	return newLayer(file{name: name, mode: 0o755, content: content})
}
