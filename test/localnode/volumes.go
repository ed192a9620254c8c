package localnode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// files are the contents of a volume by relative path.
type files map[string]file

type file struct {
	data []byte
	mode fs.FileMode
}

const defaultMode int32 = 0o644

// content collects what a volume made of ConfigMaps and Secrets holds now. A missing object or key is an error, unless it is optional.
func content(ctx context.Context, reader client.Reader, namespace string, volume corev1.VolumeSource) (files, error) {
	switch {
	case volume.ConfigMap != nil:
		v := volume.ConfigMap
		return configMap(ctx, reader, namespace, v.LocalObjectReference, v.Items, v.Optional, v.DefaultMode)
	case volume.Secret != nil:
		v := volume.Secret
		return secret(ctx, reader, namespace, corev1.LocalObjectReference{Name: v.SecretName}, v.Items, v.Optional, v.DefaultMode)
	}
	all := files{}
	for i, source := range volume.Projected.Sources {
		var part files
		var err error
		switch mode := volume.Projected.DefaultMode; {
		case source.ConfigMap != nil:
			v := source.ConfigMap
			part, err = configMap(ctx, reader, namespace, v.LocalObjectReference, v.Items, v.Optional, mode)
		case source.Secret != nil:
			v := source.Secret
			part, err = secret(ctx, reader, namespace, v.LocalObjectReference, v.Items, v.Optional, mode)
		default:
			err = fmt.Errorf("projected.sources[%d]: of these only configMap and secret are played by this node", i)
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(all, part)
	}
	return all, nil
}

func configMap(ctx context.Context, reader client.Reader, namespace string, ref corev1.LocalObjectReference, items []corev1.KeyToPath, optional *bool, mode *int32) (files, error) {
	var object corev1.ConfigMap
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, &object)
	data := maps.Clone(object.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for name, text := range object.Data {
		data[name] = []byte(text)
	}
	return project("ConfigMap "+ref.Name, data, err, items, optional, mode)
}

func secret(ctx context.Context, reader client.Reader, namespace string, ref corev1.LocalObjectReference, items []corev1.KeyToPath, optional *bool, mode *int32) (files, error) {
	var object corev1.Secret
	err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, &object)
	return project("Secret "+ref.Name, object.Data, err, items, optional, mode)
}

// project chooses among the keys of an object that was read with err.
func project(object string, data map[string][]byte, err error, items []corev1.KeyToPath, optional *bool, mode *int32) (files, error) {
	lenient := optional != nil && *optional
	switch {
	case apierrors.IsNotFound(err) && lenient:
		return files{}, nil
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("%s is not there yet", object)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", object, err)
	}
	if mode == nil {
		mode = new(defaultMode)
	}
	chosen := files{}
	if len(items) == 0 {
		for name, bytes := range data {
			chosen[name] = file{bytes, fs.FileMode(*mode)}
		}
	}
	for _, item := range items {
		bytes, ok := data[item.Key]
		if !ok && !lenient {
			return nil, fmt.Errorf("%s has no key %s yet", object, item.Key)
		}
		if item.Mode == nil {
			item.Mode = mode
		}
		if ok {
			chosen[item.Path] = file{bytes, fs.FileMode(*item.Mode)}
		}
	}
	return chosen, nil
}

// mounted is what a volume of a pod is on this machine.
type mounted struct {
	dir    string
	source corev1.VolumeSource
	last   files // what was written last; nil before anything was
}

// newMounted makes the directory of a volume below podDir, unless it is that of a claim, which is made when the claim is bound.
func newMounted(podDir, claims, namespace string, volume corev1.Volume) (*mounted, error) {
	dir := filepath.Join(podDir, "volumes", volume.Name)
	switch v := volume.VolumeSource; {
	case v.PersistentVolumeClaim != nil:
		return &mounted{dir: claimDir(claims, namespace, v.PersistentVolumeClaim.ClaimName), source: v}, nil
	case v.ConfigMap == nil && v.Secret == nil && v.Projected == nil && v.EmptyDir == nil:
		kind, _ := json.Marshal(v)
		return nil, fmt.Errorf("volume %s: this kind of volume is not played by this node: %s", volume.Name, kind)
	}
	return &mounted{dir: dir, source: volume.VolumeSource}, os.MkdirAll(dir, 0o700)
}

// refresh brings the directory up to date with the objects that it shows.
func (m *mounted) refresh(ctx context.Context, reader client.Reader, namespace string) error {
	if ref := m.source.PersistentVolumeClaim; ref != nil {
		return m.bind(ctx, reader, client.ObjectKey{Namespace: namespace, Name: ref.ClaimName})
	}
	if m.source.EmptyDir != nil {
		return nil
	}
	wanted, err := content(ctx, reader, namespace, m.source)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(m.last, wanted) {
		return nil
	}
	if err := replace(m.dir, wanted); err != nil {
		return err
	}
	m.last = wanted
	return nil
}

// bind waits for a claim that can be used. What is mounted stays so, even when the claim is being deleted.
func (m *mounted) bind(ctx context.Context, reader client.Reader, name client.ObjectKey) error {
	if m.last != nil {
		return nil
	}
	var claim corev1.PersistentVolumeClaim
	err := reader.Get(ctx, name, &claim)
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("PersistentVolumeClaim %s is not there yet", name.Name)
	case err != nil:
		return fmt.Errorf("read PersistentVolumeClaim %s: %w", name.Name, err)
	case claim.DeletionTimestamp != nil:
		return fmt.Errorf("PersistentVolumeClaim %s is being deleted", name.Name)
	case claim.Status.Phase != corev1.ClaimBound:
		return fmt.Errorf("PersistentVolumeClaim %s is not bound yet", name.Name)
	}
	m.last = files{}
	return os.MkdirAll(m.dir, 0o700)
}

// dataLink is the symbolic link through which every file of a volume is seen; swapping it changes all of them at once.
const dataLink = "..data"

// replace puts wanted in place of whatever dir holds, as a kubelet does: the files go to a new directory, and the link that every name
// goes through is swapped in one step. A reader sees all of the old or all of the new.
func replace(dir string, wanted files) error {
	version, err := os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for path, file := range wanted {
		if !filepath.IsLocal(path) || strings.HasPrefix(path, "..") {
			return errors.Join(fmt.Errorf("%q is no path inside a volume", path), os.RemoveAll(version))
		}
		names[strings.Split(path, "/")[0]] = true
		full := filepath.Join(version, path)
		if err = errors.Join(os.MkdirAll(filepath.Dir(full), 0o700), os.WriteFile(full, file.data, file.mode)); err != nil {
			return err
		}
	}

	old, _ := os.Readlink(filepath.Join(dir, dataLink)) // there is none the first time
	if err = link(dir, filepath.Base(version), dataLink); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, "..") && !names[name] {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	for name := range names {
		if _, missing := os.Lstat(filepath.Join(dir, name)); missing != nil {
			err = errors.Join(err, link(dir, filepath.Join(dataLink, name), name))
		}
	}
	if old != "" {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, old)))
	}
	return err
}

// link makes name in dir a symbolic link to target, in one step whether or not it was there.
func link(dir, target, name string) error {
	temporary := filepath.Join(dir, "..tmp_"+name)
	return errors.Join(os.Symlink(target, temporary), os.Rename(temporary, filepath.Join(dir, name)))
}
