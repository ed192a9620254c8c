package store

import (
	"encoding/binary"
	"math"
)

// Part is how many sessions one Prune of an SQL database looks at: some ten milliseconds.
const Part = 20_000

// Rows are what an SQL database answers, one after the other.
type Rows interface {
	Next() bool
	Scan(into ...any) error
	Err() error
}

// Overdue reads up to Part pairs of an id, in ascending order, and whether that session is over. It returns up to limit of those that are, and
// where the next Prune goes on: after the last one read, or from the start.
func Overdue(rows Rows, limit int) (over []SessionID, next SessionID, _ error) {
	read := 0
	for len(over) < limit && rows.Next() {
		var id []byte
		var isOver bool
		if err := rows.Scan(&id, &isOver); err != nil {
			return nil, next, err
		}
		read++
		copy(next[:], id)
		if isOver {
			over = append(over, next)
		}
	}
	if read < Part && len(over) < limit {
		next = SessionID{}
	}
	return over, next, rows.Err()
}

// Sample is how many sessions Store.Sessions looks at. What it makes of more is off by 2 in 100 as a rule.
const Sample = 4_096

// Estimate is how many sessions there are, of which the Sample with the smallest ids was read: so many, up to this last one. Ids are random, so
// those that were read take up as much of all ids there can be as their part of the sessions is.
func Estimate(read int, last SessionID) int {
	if read < Sample {
		return read
	}
	share := (float64(binary.BigEndian.Uint64(last[:])) + 1) / math.Exp2(64)
	return int(float64(read-1) / share)
}
