package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// user is who the programs run as: by number, so that the kubelet's runAsNonRoot can tell that it is not root.
const user = "65532:65532"

// The media types of the OCI image specification, 1.1 (https://github.com/opencontainers/image-spec).
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// descriptor points at a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type config struct {
	platform
	Config struct {
		User       string            `json:"User"`
		Entrypoint []string          `json:"Entrypoint"`
		WorkingDir string            `json:"WorkingDir"`
		Labels     map[string]string `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// layout is an image for some platforms, in the OCI image layout.
type layout struct {
	blobs     map[string][]byte // by digest
	manifests []descriptor
}

// add adds the image for one platform.
func (l *layout) add(p platform, name string, layers ...layer) error {
	c := config{platform: p}
	c.Config.User, c.Config.Entrypoint, c.Config.WorkingDir = user, []string{"/" + name}, "/"
	c.Config.Labels = map[string]string{
		"org.opencontainers.image.title":    name,
		"org.opencontainers.image.source":   "https://github.com/latchkey-dev/latchkey",
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
	c.RootFS.Type = "layers"
	m := manifest{SchemaVersion: 2, MediaType: typeManifest}
	for _, layer := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, layer.diffID)
		m.Layers = append(m.Layers, l.put(typeLayer, layer.compressed))
	}
	var err error
	if m.Config, err = l.putJSON(typeConfig, c); err != nil {
		return err
	}
	d, err := l.putJSON(typeManifest, m)
	if err != nil {
		return err
	}
	d.Platform = &p
	l.manifests = append(l.manifests, d)
	return nil
}

func (l *layout) putJSON(mediaType string, v any) (descriptor, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return descriptor{}, err
	}
	return l.put(mediaType, content), nil
}

func (l *layout) put(mediaType string, content []byte) descriptor {
	if l.blobs == nil {
		l.blobs = map[string][]byte{}
	}
	d := descriptor{MediaType: mediaType, Digest: digest(content), Size: len(content)}
	l.blobs[d.Digest] = content
	return d
}

// write writes the layout as an archive that names the image. The file is whole or not there.
func (l *layout) write(name, reference string) error {
	d, err := l.putJSON(typeIndex, index{SchemaVersion: 2, MediaType: typeIndex, Manifests: l.manifests})
	if err != nil {
		return err
	}
	// Both names of the same thing: containerd reads the first, other tools the second.
	d.Annotations = map[string]string{"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}
	root, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{d}})
	if err != nil {
		return err
	}
	files := []file{
		{name: "oci-layout", mode: 0o644, content: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{name: "index.json", mode: 0o644, content: root},
	}
	for _, digest := range slices.Sorted(maps.Keys(l.blobs)) {
		files = append(files, file{name: "blobs/" + strings.Replace(digest, ":", "/", 1), mode: 0o644, content: l.blobs[digest]})
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range files {
		if err := add(w, f); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { // #nosec G301 -- nothing secret
		return err
	}
	if err := os.WriteFile(name+".partial", archive.Bytes(), 0o644); err != nil { // #nosec G306 -- nothing secret
		return err
	}
	return os.Rename(name+".partial", name)
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}
