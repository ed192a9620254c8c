package store

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// maxTogether bounds how many are asked for in one go, and so how long the next ones wait.
const maxTogether = 256

// Together asks a database in one go for what callers ask at the same time. While as many goes as may be are under way, those who come wait, and all of them are the
// next one. Who is alone waits for nobody.
type Together[Q, A any] struct {
	AtOnce int                  // how many goes may be under way
	Go     func([]*Asked[Q, A]) // settles each

	running sync.WaitGroup

	mu       sync.Mutex
	waiting  []*Asked[Q, A]
	underWay int
}

// Asked is what one caller asks for.
type Asked[Q, A any] struct {
	Question Q

	answer  A
	err     error
	settled chan struct{} // closed when there is an answer, or an error
}

// Settle says what came of it, once.
func (a *Asked[Q, A]) Settle(answer A, err error) {
	a.answer, a.err = answer, err
	close(a.settled)
}

// Ask returns what came of a question. With an error, what was asked for may happen all the same.
func (t *Together[Q, A]) Ask(ctx context.Context, question Q) (A, error) {
	var nothing A
	if err := ctx.Err(); err != nil {
		return nothing, err
	}
	asked := &Asked[Q, A]{Question: question, settled: make(chan struct{})}
	t.mu.Lock()
	t.waiting = append(t.waiting, asked)
	if t.underWay < t.AtOnce {
		t.underWay++
		t.running.Go(t.run)
	}
	t.mu.Unlock()
	select {
	case <-asked.settled:
		return asked.answer, asked.err
	case <-ctx.Done(): // the others do not stop for it
		t.leave(asked)
		return nothing, ctx.Err()
	}
}

// leave forgets who waits no more: a database may hang for longer than callers do, and others come all the while.
func (t *Together[Q, A]) leave(asked *Asked[Q, A]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = slices.DeleteFunc(t.waiting, func(each *Asked[Q, A]) bool { return each == asked })
}

// Wait returns when nothing is under way. Nobody may ask any more.
func (t *Together[Q, A]) Wait() { t.running.Wait() }

// run goes until nobody waits.
func (t *Together[Q, A]) run() {
	for {
		runtime.Gosched() // whoever is about to ask, does
		batch := t.next()
		if batch == nil {
			return
		}
		t.Go(batch)
	}
}

// next is who waits by now, or nil: then this run is over.
func (t *Together[Q, A]) next() []*Asked[Q, A] {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.waiting = nil
		t.underWay--
		return nil
	}
	first := t.waiting[:min(len(t.waiting), maxTogether)]
	batch := slices.Clone(first)
	clear(first)
	t.waiting = t.waiting[len(first):]
	return batch
}
