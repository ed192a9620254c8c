package signingkey

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
	"github.com/latchkey-dev/latchkey/internal/keyset"
	"github.com/latchkey-dev/latchkey/internal/rotation"
	"github.com/latchkey-dev/latchkey/internal/signing"
)

const defaultRSABits = 2048

// schedule is a spec in the words of package rotation.
func schedule(spec v1alpha1.SigningKeySpec) rotation.Schedule {
	s := rotation.Schedule{
		Algorithm:   string(spec.Algorithm),
		RotateEvery: spec.RotateEvery.Duration,
		PublishLead: spec.PublishLead.Duration,
		Retain:      spec.Retain.Duration,
		Revoked:     spec.RevokedKeyIDs,

		AcknowledgeWithin: ptr.Deref(spec.AcknowledgeWithin, metav1.Duration{}).Duration, // the API server fills in the default
	}
	if strings.HasPrefix(s.Algorithm, "RS") || strings.HasPrefix(s.Algorithm, "PS") {
		if s.Bits = int(spec.RSABits); s.Bits == 0 {
			s.Bits = defaultRSABits
		}
	}
	return s
}

// decide returns what is due. A Pending key that the published set lacks cannot be known to any verifier, whatever its times say: the
// manager was killed before it published, or somebody removed the set. It gives way to a new key, whose lead begins now.
func decide(now time.Time, s rotation.Schedule, seen *observed, acknowledged ...string) rotation.Plan {
	var dropped []rotation.Step
	ring := slices.DeleteFunc(seen.ring.Rotation(), func(k rotation.Key) bool {
		unknown := k.Phase == rotation.Pending && !seen.published(k.ID)
		if unknown {
			dropped = append(dropped, rotation.Step{Kind: rotation.Remove, Why: rotation.Superseded, ID: k.ID})
		}
		return unknown
	})
	plan := rotation.Decide(now, s, ring, acknowledged...)
	plan.Steps = append(dropped, plan.Steps...)
	return plan
}

// published reports whether verifiers can find a key.
func (seen *observed) published(id string) bool {
	set := seen.publishedSet()
	if set == nil {
		return false
	}
	_, ok := set.Lookup(id)
	return ok
}

// publicHalf is what is published of a key whose private half is lost.
func (seen *observed) publicHalf(id string) (*signing.Key, error) {
	if set := seen.publishedSet(); set != nil {
		if key, ok := set.Lookup(id); ok {
			return signing.VerifyOnly(key)
		}
	}
	return nil, fmt.Errorf("key %q is not published", id)
}

// publishedSet is what verifiers find; nil when there is none, or it is damaged: nobody can read it.
func (seen *observed) publishedSet() *keyset.Set {
	var document []byte
	switch {
	case seen.secretSet != nil:
		document = seen.secretSet.Data[signing.KeySetFile]
	case seen.publicSet != nil:
		document = []byte(seen.publicSet.Data[signing.KeySetFile])
	}
	set, err := keyset.ParseSymmetric(document)
	if err != nil {
		return nil
	}
	return set
}
