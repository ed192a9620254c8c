// Package accesslog writes lines about requests without ever making one wait. It owns the queue between requests and whoever reads the log; it does
// not know what a line says.
package accesslog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// queueLength is how many lines may wait for a slow reader. Beyond, they are dropped: a log that holds up requests is a way to stop them.
const queueLength = 1024

// lastLines is how long Close waits for what is queued.
const lastLines = time.Second

// Log takes lines from any number of goroutines and writes them from one.
type Log struct {
	handler slog.Handler
	queue   chan slog.Record
	dropped func()
	closing chan struct{}
	closed  chan struct{}
	once    sync.Once
}

// New returns a log that writes to a handler until Close. Dropped is called for each line that found the queue full.
func New(handler slog.Handler, dropped func()) *Log {
	l := &Log{
		handler: handler, queue: make(chan slog.Record, queueLength), dropped: dropped, closing: make(chan struct{}), closed: make(chan struct{}),
	}
	go l.run()
	return l
}

// Write queues a line, or drops it.
func (l *Log) Write(line slog.Record) {
	select {
	case l.queue <- line:
	default:
		l.dropped()
	}
}

// Close writes what is queued, but does not wait long for a reader that takes nothing. Lines that come later are lost.
func (l *Log) Close() {
	l.once.Do(func() { close(l.closing) })
	patience := time.NewTimer(lastLines)
	defer patience.Stop()
	select {
	case <-l.closed:
	case <-patience.C:
	}
}

func (l *Log) run() {
	defer close(l.closed)
	for {
		select {
		case line := <-l.queue:
			l.write(line)
		case <-l.closing:
			for {
				select {
				case line := <-l.queue:
					l.write(line)
				default:
					return
				}
			}
		}
	}
}

func (l *Log) write(line slog.Record) {
	_ = l.handler.Handle(context.Background(), line) // a log that cannot be written cannot be told of it either
}
