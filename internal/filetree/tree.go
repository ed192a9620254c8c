package filetree

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
)

const (
	// MaxBytes bounds the contents of a tree. A ConfigMap or Secret holds 1 MiB; a projected volume joins a few of them.
	MaxBytes = 4 << 20
	// MaxFiles bounds the number of files in a tree.
	MaxFiles = 256
)

// dataLink is the symbolic link by which a kubelet publishes one version of a volume: it points to a directory that is never written
// again, and is replaced by a rename.
const dataLink = "..data"

// versions is how many swaps in a row one Read puts up with. A kubelet swaps once in several seconds, or a few times a second when poked.
const versions = 10

// Tree is what a directory holds: file names and their contents. It is flat, like the data of a ConfigMap or a Secret.
type Tree map[string][]byte

// errSwapped says that a version was replaced while it was read.
var errSwapped = errors.New("replaced while it was read")

// Read returns what dir holds. Of a volume that a kubelet mounts it is one version, never a mixture of two; a plain directory is read file
// by file. Names that start with ".." are the kubelet's own and are left out. Whatever is not a regular file is an error, as are symbolic
// links that lead out of the directory, and contents beyond MaxBytes or MaxFiles.
func Read(dir string) (Tree, error) {
	for range versions {
		tree, err := readVersion(dir)
		if !errors.Is(err, errSwapped) {
			return tree, err
		}
	}
	return nil, fmt.Errorf("read directory %s: replaced %d times while it was read", dir, versions)
}

// readVersion reads the version that is published now, and then looks whether it still is. A kubelet publishes the next version before it
// removes the last, so a version that is still published at the end was whole all the while, and any trouble on the way was its own.
func readVersion(dir string) (Tree, error) {
	mount, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	defer release(mount)

	version, err := mount.Readlink(dataLink)
	var tree Tree
	switch {
	case err == nil:
		tree, err = readDirectory(mount, version)
		if now, linkErr := mount.Readlink(dataLink); linkErr != nil || now != version {
			return nil, errSwapped
		}
	case errors.Is(err, fs.ErrNotExist): // a plain directory
		tree, err = readFiles(mount)
	}
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	return tree, nil
}

func readDirectory(mount *os.Root, name string) (Tree, error) {
	root, err := mount.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	defer release(root)
	return readFiles(root)
}

func readFiles(root *os.Root) (Tree, error) {
	directory, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer release(directory)
	entries, err := directory.ReadDir(-1)
	if err != nil {
		return nil, err
	}

	tree := Tree{}
	left := MaxBytes
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, "..") {
			continue
		}
		if len(tree) == MaxFiles {
			return nil, fmt.Errorf("more than %d files", MaxFiles)
		}
		content, err := readFile(root, name, left)
		if err != nil {
			return nil, err
		}
		left -= len(content)
		tree[name] = content
	}
	return tree, nil
}

func readFile(root *os.Root, name string, limit int) ([]byte, error) {
	// Without O_NONBLOCK opening a named pipe would wait for its writer, for ever.
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer release(file)
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	content, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(content) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes in all files together", name, MaxBytes)
	}
	return content, nil
}

// release closes what was only read, where an error of Close has nothing to say.
func release(c io.Closer) { _ = c.Close() }

// Hash names a version: the SHA-256, in hexadecimal, of the sorted names and the contents, each preceded by its length in 8 bytes. The
// data of a ConfigMap or Secret has the same hash as the volume that shows all of its keys.
func Hash(files map[string][]byte) string {
	hash := sha256.New()
	var length [8]byte
	add := func(b []byte) {
		binary.BigEndian.PutUint64(length[:], uint64(len(b)))
		hash.Write(length[:])
		hash.Write(b)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add([]byte(name))
		add(files[name])
	}
	return hex.EncodeToString(hash.Sum(nil))
}
