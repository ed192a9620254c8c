package residency

import (
	"runtime/debug"
	"runtime/metrics"
)

// The runtime lets as much garbage gather as there is in use. A sidecar that remembers ten thousand tokens would take memory for it that its pod could do
// without, and collecting it sooner costs hardly more.
const (
	room         = 4 << 20 // bytes of garbage
	least, most  = 50, 100 // percent of what is in use
	worthPercent = 10      // a smaller change of the percentage is not made
)

// Pace has the garbage be collected when there is a certain amount of it. The zero value is ready.
type Pace struct {
	percent int
	inUse   [1]metrics.Sample
}

// Keep sees to it, as much as is in use now. It is to be called some times a second, by one goroutine.
func (p *Pace) Keep() {
	p.inUse[0].Name = "/gc/heap/live:bytes"
	metrics.Read(p.inUse[:])
	next := min(max(least, int(room*100/max(1, p.inUse[0].Value.Uint64()))), most) //nolint:gosec // at most room*100
	if change := next - p.percent; max(change, -change)*100 > p.percent*worthPercent {
		p.percent = next
		debug.SetGCPercent(next) // stops the process for a moment
	}
}
