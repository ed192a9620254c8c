// Package redirect writes the rules by which a pod's kernel brings those who call the app's ports to the sidecar instead. It knows nftables, and
// nothing of pods: it works in the network namespace of the process.
package redirect

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Port is a port of the app, and the sidecar's in its place.
type Port struct{ App, Sidecar uint16 }

// ParsePort reads "8080:15022".
func ParsePort(text string) (Port, error) {
	app, sidecar, _ := strings.Cut(text, ":")
	from, err := strconv.ParseUint(app, 10, 16)
	to, err2 := strconv.ParseUint(sidecar, 10, 16)
	if err != nil || err2 != nil || from == 0 || to == 0 || from == to {
		return Port{}, errors.New("must be two different ports from 1 to 65535, such as 8080:15022")
	}
	return Port{App: uint16(from), Sidecar: uint16(to)}, nil
}

// table is ours alone. Its family has both versions of IP.
var table = &nftables.Table{Family: nftables.TableFamilyINet, Name: "latchkey"}

// Write puts the rules in the place of those that it wrote before, in one transaction: there is no moment with half of them. It fails where the
// process may not (it needs CAP_NET_ADMIN in the namespace), or where the kernel cannot.
//
//	chain redirect { type nat hook prerouting priority dstnat - 1; iifname != "lo" tcp dport 8080 redirect to :15022 }
//	chain guard    { type filter hook input priority filter; iifname != "lo" tcp dport 8080 drop }
//
// What still carries the app's port when it is handed in has slipped past address translation, and is dropped. The priority is before that of others
// who redirect incoming connections, such as a service mesh: the kernel obeys the first. Over the loopback interface the app stays reachable: that is
// how the sidecar calls it.
func Write(ports []Port) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	conn.AddTable(table) // so that there is one to delete
	conn.DelTable(table)
	conn.AddTable(table)
	redirect := conn.AddChain(&nftables.Chain{
		Name: "redirect", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting,
		Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityNATDest - 1),
	})
	guard := conn.AddChain(&nftables.Chain{
		Name: "guard", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	})
	for _, port := range ports {
		conn.AddRule(&nftables.Rule{Table: table, Chain: redirect, Exprs: append(fromOutsideTo(port.App),
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(port.Sidecar)},
			&expr.Redir{RegisterProtoMin: 1, Flags: unix.NF_NAT_RANGE_PROTO_SPECIFIED},
		)})
		conn.AddRule(&nftables.Rule{Table: table, Chain: guard, Exprs: append(fromOutsideTo(port.App), &expr.Verdict{Kind: expr.VerdictDrop})})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("write the rules of nftables: %w", err)
	}
	return nil
}

// fromOutsideTo matches TCP to a port that comes in by any interface but lo.
func fromOutsideTo(port uint16) []expr.Any {
	const destinationPort = 2 // offset in a TCP header
	loopback := make([]byte, unix.IFNAMSIZ)
	copy(loopback, "lo")
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: loopback},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
	}
}
