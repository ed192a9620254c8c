package issuer

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/latchkey-dev/latchkey/internal/filetree"
)

// The names that the volumes have in the pod.
const (
	volumeConfig   = "latchkey-config"
	volumeRing     = "latchkey-ring"
	volumeUsers    = "latchkey-users"
	volumeWebhook  = "latchkey-webhook"
	volumeSidecars = "latchkey-sidecars"
	volumeTLS      = "latchkey-tls"
	volumeStore    = "latchkey-store"
)

// volumeState is what is known of a volume. Hashes are filetree.Hash of all that it held.
type volumeState struct {
	Applied  string `json:"applied,omitempty"`  // what is in force
	Rejected string `json:"rejected,omitempty"` // what is there instead, and is not in force
	Error    string `json:"error,omitempty"`    // why not
}

// volume brings what a mounted directory holds into force, and keeps the last good when it cannot.
type volume struct {
	name    string
	dir     string
	apply   func(filetree.Tree) error // whole, or not at all
	metrics *metrics
	log     *slog.Logger

	mu    sync.Mutex
	state volumeState
}

// volumesOf are those that the options name. What the one says in which a store is named goes to located.
func volumesOf(o Options, m *materials, located func(filetree.Tree) error, metrics *metrics, log *slog.Logger) (all []*volume) {
	for _, each := range []*volume{
		{name: volumeConfig, dir: o.Config, apply: m.applyConfig},
		{name: volumeRing, dir: o.Ring, apply: m.applyRing},
		{name: volumeSidecars, dir: o.Sidecars, apply: m.applySidecars},
		{name: volumeTLS, dir: o.TLS, apply: m.applyTLS},
		{name: volumeStore, dir: o.PostgreSQL + o.Redis, apply: located},
		{name: volumeUsers, dir: o.Users, apply: m.applyUsers},
		{name: volumeWebhook, dir: o.Webhook, apply: m.applyWebhook},
	} {
		if each.dir != "" {
			each.metrics, each.log = metrics, log
			all = append(all, each)
		}
	}
	return all
}

// follow applies what is there now and what comes after, until ctx is done.
func (v *volume) follow(ctx context.Context) { filetree.Watch(ctx, v.dir, v.changed) }

func (v *volume) changed(tree filetree.Tree, err error) {
	before := v.current()
	hash := ""
	if err == nil {
		hash = filetree.Hash(tree)
		if hash != before.Applied {
			err = v.apply(tree)
		}
	}
	if err != nil {
		fault := brief(err.Error())
		v.set(volumeState{Applied: before.Applied, Rejected: hash, Error: fault})
		v.metrics.volumeRejected(v.name)
		v.log.Error("volume not applied", "volume", v.name, "inForce", before.Applied, "rejected", hash, "error", fault)
		return
	}
	v.set(volumeState{Applied: hash})
	v.metrics.volumeApplied(v.name)
	if hash != before.Applied {
		v.log.Info("volume applied", "volume", v.name, "hash", hash)
	}
}

// maxFault is how much is told of why a volume is not in force. The manager reads 64 KiB of /applied, and JSON may write a byte as six.
const maxFault = 2 << 10

func brief(text string) string {
	if len(text) <= maxFault {
		return text
	}
	return strings.ToValidUTF8(text[:maxFault], "") + "…"
}

func (v *volume) current() volumeState {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

func (v *volume) set(state volumeState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state = state
}
