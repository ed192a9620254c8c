package main_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-dev/latchkey/test/controlplane"
)

func TestAnImageIsOneStaticProgramThatRunsAsTheUserThatPodsPrescribe(t *testing.T) {
	archive := read(t, pack(t))
	platforms := images(t, archive)
	if got, want := len(platforms), 2; got != want {
		t.Fatalf("got %d platforms, want %d", got, want)
	}
	for platform, image := range platforms {
		// As in internal/inject, controllers/tokenissuer and config/manager.
		if got, want := image.Config.User, "65532:65532"; got != want {
			t.Errorf("%s: the user is %s, want %s", platform, got, want)
		}
		if diff := cmp.Diff(image.Config.Entrypoint, []string{"/pause"}); diff != "" {
			t.Errorf("%s: entrypoint (-got +want):\n%s", platform, diff)
		}
		if got, want := image.files["pause"].header.FileInfo().Mode(), os.FileMode(0o755); got != want {
			t.Errorf("%s: the program's mode is %v, want %v", platform, got, want)
		}
		for name, file := range image.files {
			if file.header.Uid != 0 || file.header.Mode&0o022 != 0 {
				t.Errorf("%s: %s can be written by others than root", platform, name)
			}
		}
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(image.files["etc/ssl/certs/ca-certificates.crt"].content) {
			t.Errorf("%s: there are no certificate authorities where Go looks for them", platform)
		}
	}
}

func TestTheSameSourcesGiveTheSameImage(t *testing.T) {
	first, second := pack(t), pack(t)
	one, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, other) {
		t.Errorf("%s and %s differ", first, second)
	}
}

// Every node pulls the sidecar's image, and every pod waits for that.
func TestTheSidecarsImageIsSmallAndForItsPlatform(t *testing.T) {
	archive := read(t, packed(t, "localhost/latchkey/sidecar:1=./cmd/sidecar,latchkey-redirect=./cmd/redirect"))
	platforms := images(t, archive)
	for platform, machine := range map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64} {
		image := platforms[platform]
		if got, most := image.size, 15_000_000; got == 0 || got >= most {
			t.Errorf("%s: got layers of %d bytes, want some, and less than %d", platform, got, most)
		}
		for _, name := range []string{"sidecar", "latchkey-redirect"} {
			program, err := elf.NewFile(bytes.NewReader(image.files[name].content))
			if err != nil {
				t.Fatalf("%s: %s: %v", platform, name, err)
			}
			if got := program.Machine; got != machine {
				t.Errorf("%s: %s is for %v, want %v", platform, name, got, machine)
			}
		}
	}
}

// pack packs the smallest of our programs as `make images` packs the others.
func pack(t *testing.T) string {
	t.Helper()
	return packed(t, "localhost/latchkey/pause:1=./test/node/pause")
}

func packed(t *testing.T, request string) (archive string) {
	t.Helper()
	output := t.TempDir()
	command := exec.Command("go", "run", "./images", "-output", output, request)
	command.Dir = controlplane.Root()
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	archives, err := filepath.Glob(filepath.Join(output, "*.tar"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("got archives %v and error %v, want one", archives, err)
	}
	return archives[0]
}

type file struct {
	header  *tar.Header
	content []byte
}

// image is what is tested of an OCI image (https://github.com/opencontainers/image-spec).
type image struct {
	Config struct {
		User       string
		Entrypoint []string
	}
	files map[string]file
	size  int // of its layers, as they are pulled
}

type descriptor struct {
	MediaType, Digest string
	Size              int
	Platform          struct{ OS, Architecture string }
}

func images(t *testing.T, archive map[string]file) map[string]image {
	t.Helper()
	blob := func(d descriptor, into any) {
		t.Helper()
		if err := json.Unmarshal(archive["blobs/"+strings.Replace(d.Digest, ":", "/", 1)].content, into); err != nil {
			t.Fatalf("%s: %v", d.Digest, err)
		}
	}
	var root, index struct{ Manifests []descriptor }
	if err := json.Unmarshal(archive["index.json"].content, &root); err != nil {
		t.Fatal(err)
	}
	blob(root.Manifests[0], &index)

	found := map[string]image{}
	for _, m := range index.Manifests {
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		blob(m, &manifest)
		i := image{files: map[string]file{}}
		blob(manifest.Config, &i)
		for _, layer := range manifest.Layers {
			i.size += layer.Size
			unzipped, err := gzip.NewReader(bytes.NewReader(archive["blobs/"+strings.Replace(layer.Digest, ":", "/", 1)].content))
			if err != nil {
				t.Fatal(err)
			}
			for name, file := range untar(t, unzipped) {
				i.files[name] = file
			}
		}
		found[m.Platform.OS+"/"+m.Platform.Architecture] = i
	}
	return found
}

func read(t *testing.T, archive string) map[string]file {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return untar(t, f)
}

func untar(t *testing.T, from io.Reader) map[string]file {
	t.Helper()
	files := map[string]file{}
	for reader := tar.NewReader(from); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = file{header, content}
	}
}
