package managerload

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// addresses are a range of this machine's own, as all of 127.0.0.0/8 are, for pods.
type addresses struct {
	second byte // the range is 127.second.0.0/16
	taken  net.Listener
}

// adminPort is where a sidecar says what it has applied.
const adminPort = 15020

// takeAddresses takes a range that no other run has.
func takeAddresses() (*addresses, error) {
	var failed error
	for second := byte(112); second < 126; second++ {
		a := &addresses{second: second}
		var err error
		if a.taken, err = net.Listen("tcp", net.JoinHostPort(a.of(0).String(), strconv.Itoa(adminPort))); err == nil {
			return a, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, fmt.Errorf("find addresses for pods: %w", failed)
}

// of is the address of the n-th pod, from 1 on.
func (a *addresses) of(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, a.second, byte(n >> 8), byte(n)})
}
