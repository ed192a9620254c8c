package store

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
