package localnode

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// kubeletPort is what a node's kubelet listens on, for `kubectl logs`. Holding it on the node's address is what claims the range of addresses, so that two
// nodes on one machine (a demo and a test, say) never give out the same ones.
const kubeletPort = 10250

// addresses gives out the addresses of one node: 127.77.n.1 is the node's, 127.77.n.2 to 127.77.n.254 are for pods, and each of these has
// the loopback address 127.78.n.x with it. The kernel answers to all of 127.0.0.0/8 without being told.
type addresses struct {
	claim  net.Listener
	subnet byte

	mu    sync.Mutex
	last  byte
	taken map[byte]bool
}

// address is what one pod goes by.
type address struct {
	Pod, Loopback netip.Addr
	host          byte
}

func claimAddresses() (*addresses, error) {
	var first error
	for n := range 256 {
		node := netip.AddrFrom4([4]byte{127, 77, byte(n), 1})
		claim, err := net.Listen("tcp4", netip.AddrPortFrom(node, kubeletPort).String())
		if err == nil {
			return &addresses{claim: claim, subnet: byte(n), last: 1, taken: map[byte]bool{}}, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, fmt.Errorf("find a free range of addresses in 127.77.0.0/16: %w", first)
}

// Node is the node's own address.
func (a *addresses) Node() netip.Addr { return netip.AddrFrom4([4]byte{127, 77, a.subnet, 1}) }

// Release lets another node have the range. Doing so twice does no harm.
func (a *addresses) Release() error {
	if err := a.claim.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Take gives out the address that has been unused for the longest.
func (a *addresses) Take() (address, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range 253 {
		if a.last++; a.last == 255 {
			a.last = 2
		}
		if !a.taken[a.last] {
			a.taken[a.last] = true
			return address{
				Pod:      netip.AddrFrom4([4]byte{127, 77, a.subnet, a.last}),
				Loopback: netip.AddrFrom4([4]byte{127, 78, a.subnet, a.last}),
				host:     a.last,
			}, nil
		}
	}
	return address{}, errors.New("all 253 pod addresses of this node are in use")
}

// Free takes an address back.
func (a *addresses) Free(addr address) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.taken, addr.host)
}
