package keyset

// A point is one of an elliptic curve's group. Its methods set it to p + q or 2p, which may be the point itself, and return it.
type point[P any] interface {
	Add(p, q P) P
	Double(p P) P
}

// rows is into how many rows of bits a number is cut before it is multiplied with a point. Each row doubles what is kept of the point, 6 kB for P-256 (ADR 22).
const rows = 6

// multiples are what is kept of a point so that it can be multiplied with many numbers (the fixed-base comb: Handbook of Applied Cryptography, algorithm 14.117).
// The bits of a number are written in rows of equal length, the lowest first, one below the other. sums[c] is the point times the number that has, in the last
// column of each row i, the bit i of c.
type multiples[P point[P]] struct {
	newPoint func() P // infinity
	columns  int
	sums     [1 << rows]P
}

// multiplesOf prepares p for numbers of size bytes.
func multiplesOf[P point[P]](p P, size int, newPoint func() P) *multiples[P] {
	m := &multiples[P]{newPoint: newPoint, columns: (8*size + rows - 1) / rows}
	m.sums[0] = newPoint()
	row := newPoint().Add(newPoint(), p)
	for i := range rows {
		for c := range 1 << i {
			m.sums[1<<i+c] = newPoint().Add(m.sums[c], row)
		}
		for range m.columns {
			row.Double(row)
		}
	}
	return m
}

// times returns the point times the number, which is big-endian and of the size that was prepared for. How long it takes tells the number: it is for public ones.
func (m *multiples[P]) times(number []byte) P {
	product := m.newPoint()
	for column := m.columns - 1; column >= 0; column-- {
		product.Double(product)
		if c := m.bits(number, column); c != 0 {
			product.Add(product, m.sums[c])
		}
	}
	return product
}

// bits reads one column of the number, the lowest row as the lowest bit.
func (m *multiples[P]) bits(number []byte, column int) (c int) {
	for i := range rows {
		bit := i*m.columns + column
		if at := len(number) - 1 - bit/8; at >= 0 { // the highest row may be shorter
			c |= int(number[at]>>(bit%8)&1) << i
		}
	}
	return c
}
