package sidecar_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-dev/latchkey/internal/bundle"
	"github.com/latchkey-dev/latchkey/internal/policy"
)

func TestChangedBundleIsInForceWithinASecond(t *testing.T) {
	w := newProtectedApp(t)
	b := w.bundle()
	b.Policy.Rules = []policy.Rule{{Access: policy.AccessDeny}}
	mounted := time.Now()
	w.waitApplied(w.mount(b))
	if took := time.Since(mounted); took > time.Second {
		t.Errorf("got it in force after %v, want within a second", took)
	}
	if got := w.do("GET", "/public", "").reason(); got != "denied" {
		t.Errorf("got %q, want denied under the new policy", got)
	}
}

func TestTokenOfAWithdrawnKeyIsRefusedAtOnce(t *testing.T) {
	w := newProtectedApp(t)
	token := w.token("alice", nil)
	for range 2 { // so that it is cached
		if got := w.do("GET", "/", token).Status; got != 200 {
			t.Fatalf("got %d, want 200 while the key is there", got)
		}
	}
	next := newKey(t, "ES256")
	w.waitApplied(w.mount(w.bundle(next)))
	if got := w.do("GET", "/", token).reason(); got != "invalid_token" {
		t.Errorf("got %q, want invalid_token", got)
	}
	if got := w.do("GET", "/", w.tokenBy(next, "alice", nil)).Status; got != 200 {
		t.Errorf("got %d for a token of the next key, want 200", got)
	}
}

func TestBrokenBundleLeavesTheLastGoodOneInForce(t *testing.T) {
	valid := func(w *world) []byte {
		data, err := w.bundle().Marshal()
		check(w, err)
		return data
	}
	with := func(data []byte, change func(document map[string]any)) []byte {
		var document map[string]any
		check(t, json.Unmarshal(data, &document))
		change(document)
		changed, err := json.Marshal(document)
		check(t, err)
		return changed
	}
	tests := []struct {
		name  string
		files func(w *world) map[string][]byte
		want  string // in the error
	}{
		{"no bundle", func(*world) map[string][]byte { return map[string][]byte{} }, "bundle.json"},
		{"half a bundle", func(w *world) map[string][]byte {
			return map[string][]byte{bundle.FileName: valid(w)[:100]}
		}, "bundle.json"},
		{"an unknown field", func(w *world) map[string][]byte {
			return map[string][]byte{bundle.FileName: with(valid(w), func(d map[string]any) { d["polcy"] = 1 })}
		}, "polcy"},
		{"a path that is no path", func(w *world) map[string][]byte {
			return map[string][]byte{bundle.FileName: with(valid(w), func(d map[string]any) {
				d["policy"].(map[string]any)["rules"] = []any{map[string]any{"paths": []any{map[string]any{"prefix": "admin"}}}}
			})}
		}, "rules[0].paths[0].prefix"},
		{"a key that is no key", func(w *world) map[string][]byte {
			return map[string][]byte{bundle.FileName: with(valid(w), func(d map[string]any) {
				d["issuers"].([]any)[0].(map[string]any)["keys"] = map[string]any{"keys": []any{map[string]any{"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS256"}}}
			})}
		}, "issuers[0].keys: keys[0].n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.serveApp(http.HandlerFunc(echo))
			good := w.mount(w.bundle())
			w.start()
			broken := w.mountFiles(test.files(w))
			w.eventually("the broken bundle is rejected", func() bool { return w.applied().Volumes["latchkey-bundle"].Rejected == broken })

			state := w.applied().Volumes["latchkey-bundle"]
			if state.Applied != good || !strings.Contains(state.Error, test.want) {
				t.Errorf("got %q applied and error %q, want %q and an error that names %s", state.Applied, state.Error, good, test.want)
			}
			if got := w.metric("latchkey_sidecar_bundle_rejected"); got != "1" {
				t.Errorf("got latchkey_sidecar_bundle_rejected %s, want 1", got)
			}
			if !strings.Contains(w.log.String(), "bundle not applied") {
				t.Error("got nothing in the log, want it said there, too")
			}
			if got := w.do("GET", "/", w.token("alice", nil)).Status; got != 200 {
				t.Errorf("got %d, want 200 under the last good bundle", got)
			}

			// What was in force all the while comes back: nothing is wrong any more.
			w.mount(w.bundle())
			w.eventually("the rejection is forgotten", func() bool { return w.applied().Volumes["latchkey-bundle"].Rejected == "" })
			if got := w.metric("latchkey_sidecar_bundle_rejected"); got != "0" {
				t.Errorf("got latchkey_sidecar_bundle_rejected %s, want 0", got)
			}
		})
	}
}

func TestDirectoryThatVanishesLeavesTheLastGoodBundleInForce(t *testing.T) {
	w := newProtectedApp(t)
	check(t, os.RemoveAll(w.bundleDir))
	w.eventually("the sidecar has noticed", func() bool { return w.applied().Volumes["latchkey-bundle"].Error != "" })
	if got := w.do("GET", "/public", "").Status; got != 200 {
		t.Errorf("got %d, want 200 under the last good bundle", got)
	}
	check(t, os.MkdirAll(w.bundleDir, 0o755))
	b := w.bundle()
	b.Policy.Rules = nil
	w.versions = 0
	w.waitApplied(w.mount(b))
}
