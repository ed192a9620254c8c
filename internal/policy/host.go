package policy

import (
	"net/netip"
	"strconv"
	"strings"
)

// errHost is the refusal of a Host that two readers could take for two different ones, or that is none. It never repeats the host.
type errHost string

func (e errHost) Error() string { return "ambiguous host: " + string(e) }

const (
	hostBadPort      errHost = "bad_port"
	hostBadAddress   errHost = "bad_address"
	hostEmptyLabel   errHost = "empty_label"
	hostTooLong      errHost = "too_long"
	hostBadCharacter errHost = "bad_character"
)

// The longest name and label that DNS has (RFC 1035 section 2.3.4).
const (
	maxHost  = 253
	maxLabel = 63
)

// NormalizeHost returns the host of a request as Decide compares it: in lower case, without the port and the dot at its end. It takes names of letters,
// digits, "-" and "_", and IP addresses, those of version 6 in brackets; "" stands for none, which HTTP/1.0 allows. All others are refused: an
// encoded character, a comma, white space or a user name is read by some and not by others.
func NormalizeHost(host string) (string, error) {
	if strings.HasPrefix(host, "[") {
		return normalizeAddress(host)
	}
	name, port, hasPort := strings.Cut(host, ":")
	switch {
	case host == "":
		return "", nil
	case hasPort && !isPort(port):
		return "", hostBadPort
	}
	name = strings.TrimSuffix(name, ".")
	if fault := faultOfHost(name); fault != "" {
		return "", fault
	}
	return strings.ToLower(name), nil
}

func normalizeAddress(host string) (string, error) {
	literal, rest, closed := strings.Cut(host[1:], "]")
	port, hasPort := strings.CutPrefix(rest, ":")
	address, err := netip.ParseAddr(literal)
	switch {
	case err != nil, !closed, !address.Is6(), address.Zone() != "":
		return "", hostBadAddress
	case hasPort && !isPort(port), !hasPort && rest != "":
		return "", hostBadPort
	}
	return "[" + address.String() + "]", nil
}

func faultOfHost(name string) errHost {
	if len(name) > maxHost {
		return hostTooLong
	}
	for rest, more := name, true; more; {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		switch {
		case label == "":
			return hostEmptyLabel
		case len(label) > maxLabel:
			return hostTooLong
		}
		for i := range len(label) {
			c := label[i]
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
				return hostBadCharacter
			}
		}
	}
	return ""
}

func isPort(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// checkHost wants a host as the normalised ones of requests are: any other would never match.
func checkHost(c check, host string) {
	name, _ := strings.CutPrefix(host, "*.")
	if faultOfHost(name) != "" || strings.ToLower(name) != name {
		c.fail(`must be a host such as shop.example.com or *.example.com: in small letters, without a port, and with no "*" but one for all the names below`)
	}
}

// labels are a trie of host names, read from the right, since that is where names have in common what wildcards stand before.
type labels struct {
	children map[string]*labels
	exact    *tree // of rules for this very name
	below    *tree // of rules for all names below it
}

// place returns where the rules for a host are kept.
func (l *labels) place(host string) **tree {
	name, below := strings.CutPrefix(host, "*.")
	for more := true; more; {
		var label string
		name, label, more = cutLast(name)
		child := l.children[label]
		if child == nil {
			child = &labels{}
			if l.children == nil {
				l.children = map[string]*labels{}
			}
			l.children[label] = child
		}
		l = child
	}
	if below {
		return &l.below
	}
	return &l.exact
}

// cutLast cuts the last label off.
func cutLast(name string) (rest, label string, more bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return "", name, false
	}
	return name[:dot], name[dot+1:], true
}
