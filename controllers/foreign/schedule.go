package foreign

import "time"

const (
	firstRetry = 10 * time.Second
	lastRetry  = 10 * time.Minute
)

// pause returns how long to wait after an attempt. Failures counts those in a row; after none, lifetime is how long the answer is fresh. Chance, from
// 0 up to 1, spreads what would otherwise go out at one time.
func pause(failures int, lifetime time.Duration, chance float64) time.Duration {
	if failures == 0 {
		return time.Duration(float64(lifetime) * (0.9 + 0.1*chance))
	}
	wait := lastRetry
	if shift := failures - 1; shift < 6 {
		wait = min(firstRetry<<shift, lastRetry)
	}
	return time.Duration(float64(wait) * (0.5 + 0.5*chance))
}
