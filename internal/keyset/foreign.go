package keyset

import (
	"errors"
	"fmt"
	"strings"
)

// ParseForeign reads a key set that somebody else publishes, and whose faults are not ours to mend. A key that Parse would refuse is taken out
// and told of by Refused, above all one whose private half was published with it; the others count. It fails when none is left, or the
// document is no key set.
//
// Algorithms are those that are taken from the issuer; none means all. Keys for others are ignored. An RSA key without alg, as some large
// issuers publish them, is for the one RSA algorithm that is taken, and for RS256 where nothing is said (OpenID Connect Core section 2
// has it for a default): what a token says never decides.
func ParseForeign(data []byte, algorithms []string) (*Set, error) {
	how := reader{foreign: true}
	for _, name := range algorithms {
		canonical, _ := CanonicalAlgorithm(name)
		how.taken = append(how.taken, canonical)
	}
	return parse(data, how)
}

// foreignSet is what is left of a foreign set. Where two different keys have one kid, neither is left: nobody can tell which one is meant.
func foreignSet(keys []*Key, paths, ignored []string, faults []error) (*Set, error) {
	holders := map[string][]int{} // by kid
	for i, key := range keys {
		holders[key.ID()] = append(holders[key.ID()], i)
	}
	var kept []*Key
	var keptPaths []string
	for i, key := range keys {
		same := holders[key.ID()]
		switch {
		case key.ID() == "" && len(keys) > 1:
			faults = append(faults, fmt.Errorf("%s.kid: is missing: with several keys, tokens name theirs by it", paths[i]))
		case !alike(keys, same):
			faults = append(faults, fmt.Errorf("%s.kid: %q is another key's too", paths[i], key.ID()))
		case same[0] == i: // the same key again says nothing new
			kept, keptPaths = append(kept, key), append(keptPaths, paths[i])
		}
	}
	refused := make([]string, len(faults))
	for i, fault := range faults {
		refused[i] = clip(fault.Error())
	}
	for i := range ignored {
		ignored[i] = clip(ignored[i])
	}
	if len(kept) == 0 {
		return nil, errNoneLeft(refused, ignored)
	}
	set, err := newSet(kept, keptPaths)
	if err != nil {
		return nil, err
	}
	set.ignored, set.refused = ignored, refused
	return set, nil
}

func alike(keys []*Key, which []int) bool {
	for _, i := range which {
		if keys[i].jwk != keys[which[0]].jwk {
			return false
		}
	}
	return true
}

// errNoneLeft tells the first few of the reasons why.
func errNoneLeft(refused, ignored []string) error {
	why := append(refused, ignored...) //nolint:gocritic // neither is used again
	if len(why) == 0 {
		return errors.New("keys: there are none")
	}
	const most = 4
	more := ""
	if len(why) > most {
		more = fmt.Sprintf("; and %d more", len(why)-most)
		why = why[:most]
	}
	return errors.New("keys: none of them can be used: " + strings.Join(why, "; ") + more)
}

// clip keeps short what may quote a stranger's document.
func clip(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " ..."
}
