//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// heralds tell which sidecars have just applied a bundle. They read it in the logs that the kubelet keeps on this node, which costs the pods nothing: fifty
// of them that are asked again and again whether a change is in force take as much of the node as the change does.
type heralds struct {
	applied map[string]chan struct{} // by the app's address in the pod
	logs    map[string]*sidecarLog   // by the name of the file
}

// of is where a pod's word comes; nil, from which nothing ever comes, where nobody listens for it.
func (h *heralds) of(address string) <-chan struct{} {
	if h == nil {
		return nil
	}
	return h.applied[address]
}

// sidecarLog is the log of one sidecar, as far as it was read.
type sidecarLog struct {
	file    *os.File
	partial []byte // of a line whose end is not there yet
	applied chan<- struct{}
}

// listen has the pods that there are now asked when they have applied a bundle, until the test is over.
func (a *app) listen() {
	a.Helper()
	h := &heralds{applied: map[string]chan struct{}{}, logs: map[string]*sidecarLog{}}
	watcher, err := fsnotify.NewWatcher()
	must(a.T, err)
	for _, pod := range a.pods() {
		links, err := filepath.Glob("/var/log/containers/" + pod.Name + "_" + pod.Namespace + "_latchkey-*.log")
		must(a.T, err)
		if len(links) != 1 {
			a.Fatalf("got %d logs of the sidecar of %s, want one: %v", len(links), pod.Name, links)
		}
		name, err := filepath.EvalSymlinks(links[0])
		must(a.T, err)
		file, err := os.Open(name)
		must(a.T, err)
		_, err = file.Seek(0, io.SeekEnd)
		must(a.T, err)
		applied := make(chan struct{}, 1)
		h.applied["http://"+net.JoinHostPort(pod.Status.PodIP, "8080")] = applied
		h.logs[name] = &sidecarLog{file: file, applied: applied}
		must(a.T, watcher.Add(name))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for event := range watcher.Events {
			if log := h.logs[event.Name]; log != nil {
				log.read()
			}
		}
	}()
	a.Cleanup(func() {
		_ = watcher.Close()
		<-ended
		for _, log := range h.logs {
			_ = log.file.Close()
		}
	})
	a.heralds = h
}

func (l *sidecarLog) read() {
	added, err := io.ReadAll(l.file)
	if err != nil {
		return // whoever waits asks all the same, only later
	}
	l.partial = append(l.partial, added...)
	end := bytes.LastIndexByte(l.partial, '\n') + 1
	if bytes.Contains(l.partial[:end], []byte(`"msg":"bundle applied"`)) {
		select {
		case l.applied <- struct{}{}:
		default: // it was not waited for
		}
	}
	l.partial = bytes.Clone(l.partial[end:])
}
