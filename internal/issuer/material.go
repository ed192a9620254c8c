package issuer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-dev/latchkey/internal/filetree"
	"github.com/latchkey-dev/latchkey/internal/issuer/config"
	"github.com/latchkey-dev/latchkey/internal/issuer/users"
	"github.com/latchkey-dev/latchkey/internal/issuer/webhook"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/sidecartoken"
	"github.com/latchkey-dev/latchkey/internal/signing"
	"github.com/latchkey-dev/latchkey/internal/tracing"
)

// material is what the mounted files say. It is immutable; a request works with one from start to end.
type material struct {
	config      *config.Config
	users       *users.Users
	keys        *keys
	certificate *tls.Certificate
	sidecars    sidecartoken.Token

	// Of how users prove who they are, what config asks for.
	webhook        *webhook.Client
	webhookSecrets webhook.Secrets
	backends       *backends

	tracer *tracing.Tracer // nil: nobody asks for spans
}

// keys is what the SigningKey's Secret holds.
type keys struct {
	active    *signing.Key
	ids       []string
	published []*keyset.Key // without shared secrets, even while a ring changes from such to others
	verifying *keyset.Set   // with them
}

// missing names the first part that has not been read yet; empty when all are there.
func (m *material) missing() string {
	switch {
	case m.config == nil:
		return volumeConfig
	case m.config.Login.Users && m.users == nil:
		return volumeUsers
	case m.webhook != nil && m.webhookSecrets.Empty():
		return volumeWebhook
	case m.keys == nil:
		return volumeRing
	case m.sidecars.IsZero():
		return volumeSidecars
	case m.certificate == nil:
		return volumeTLS
	default:
		return ""
	}
}

// materials holds the current material. Each part is replaced on its own when its volume changes.
type materials struct {
	dropped func(spans int) // is told what the collector did not take

	mu      sync.Mutex // one replacement at a time
	current atomic.Pointer[material]
}

func (m *materials) load() *material {
	if current := m.current.Load(); current != nil {
		return current
	}
	return &material{}
}

func (m *materials) replace(change func(*material)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := *m.load()
	change(&next)
	m.current.Store(&next)
}

func (m *materials) applyConfig(tree filetree.Tree) error {
	data, err := file(tree, config.File)
	if err != nil {
		return err
	}
	parsed, err := config.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", config.File, err)
	}
	backends, err := newBackends(parsed)
	if err != nil {
		return fmt.Errorf("%s: %w", config.File, err)
	}
	var hook *webhook.Client
	if w := parsed.Login.Webhook; w != nil {
		hook = webhook.New(w)
	}
	before := m.load()
	tracer := tracing.Renew(before.tracer, parsed.Tracing, "latchkey-issuer", m.dropped)
	m.replace(func(m *material) { m.config, m.backends, m.webhook, m.tracer = parsed, backends, hook, tracer })
	if before.webhook != nil {
		before.webhook.Close()
	}
	if before.tracer != tracer {
		before.tracer.Close()
	}
	return nil
}

func (m *materials) applyUsers(tree filetree.Tree) error {
	data, err := file(tree, users.File)
	if err != nil {
		return err
	}
	parsed, err := users.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", users.File, err)
	}
	m.replace(func(m *material) { m.users = parsed })
	return nil
}

func (m *materials) applyWebhook(tree filetree.Tree) error {
	data, err := file(tree, webhook.SecretFile)
	if err != nil {
		return err
	}
	parsed, err := webhook.ParseSecrets(data)
	if err != nil {
		return fmt.Errorf("%s: %w", webhook.SecretFile, err)
	}
	m.replace(func(m *material) { m.webhookSecrets = parsed })
	return nil
}

func (m *materials) applySidecars(tree filetree.Tree) error {
	data, err := file(tree, sidecartoken.File)
	if err != nil {
		return err
	}
	parsed, err := sidecartoken.Parse(string(data))
	if err != nil {
		return fmt.Errorf("%s: %w", sidecartoken.File, err)
	}
	m.replace(func(m *material) { m.sidecars = parsed })
	return nil
}

func (m *materials) applyRing(tree filetree.Tree) error {
	data, err := file(tree, signing.RingFile)
	if err != nil {
		return err
	}
	ring, err := signing.ParseRing(data)
	if err != nil {
		return fmt.Errorf("%s: %w", signing.RingFile, err)
	}
	active, ok := ring.Active()
	if !ok {
		return fmt.Errorf("%s: no key is active", signing.RingFile)
	}
	parsed := &keys{active: active}
	for _, key := range ring.Rotation() {
		parsed.ids = append(parsed.ids, key.ID)
	}
	if data, err = file(tree, signing.KeySetFile); err != nil {
		return err
	}
	set, err := keyset.ParseSymmetric(data)
	if err != nil {
		return fmt.Errorf("%s: %w", signing.KeySetFile, err)
	}
	if _, ok := set.Lookup(active.ID()); !ok {
		return fmt.Errorf("%s: lacks the key that signs, %s", signing.KeySetFile, active.ID())
	}
	parsed.verifying = set
	parsed.published = slices.DeleteFunc(set.Keys(), (*keyset.Key).Symmetric)
	m.replace(func(m *material) { m.keys = parsed })
	return nil
}

func (m *materials) applyTLS(tree filetree.Tree) error {
	chain, err := file(tree, "tls.crt")
	if err != nil {
		return err
	}
	key, err := file(tree, "tls.key")
	if err != nil {
		return err
	}
	certificate, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return fmt.Errorf("tls.crt and tls.key: %w", err)
	}
	m.replace(func(m *material) { m.certificate = &certificate })
	return nil
}

// certificate is the tls.Config's GetCertificate: a new certificate is in use from the next handshake on.
func (m *materials) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if certificate := m.load().certificate; certificate != nil {
		return certificate, nil
	}
	return nil, errors.New("no serving certificate has been read yet")
}

func file(tree filetree.Tree, name string) ([]byte, error) {
	data, ok := tree[name]
	if !ok {
		return nil, fmt.Errorf("%s: missing", name)
	}
	return data, nil
}

// verifyingKeys is the key set to publish at now: without the keys that have ended since the files were written.
func (k *keys) verifyingKeys(now time.Time) ([]byte, error) {
	var living []*keyset.Key
	for _, key := range k.published {
		if end := key.NotAfter(); end.IsZero() || now.Before(end) {
			living = append(living, key)
		}
	}
	if len(living) == 0 {
		return []byte(`{"keys":[]}`), nil
	}
	set, err := keyset.NewSet(living...)
	if err != nil {
		return nil, err
	}
	return set.MarshalJSON()
}
