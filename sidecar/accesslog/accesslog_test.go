package accesslog_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/latchkey-dev/latchkey/sidecar/accesslog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a handler whose lines are written when it opens.
type gate struct {
	slog.Handler
	open    chan struct{}
	written atomic.Int64
}

func (g *gate) Handle(context.Context, slog.Record) error {
	<-g.open
	g.written.Add(1)
	return nil
}

func TestSlowReaderCostsLinesAndNoTime(t *testing.T) {
	slow := &gate{open: make(chan struct{})}
	var dropped atomic.Int64
	log := accesslog.New(slow, func() { dropped.Add(1) })
	const lines = 5000
	for range lines { // would hang here, if writing waited
		log.Write(slog.NewRecord(time.Now(), slog.LevelInfo, "line", 0))
	}
	if dropped.Load() == 0 {
		t.Error("got no line dropped, want some")
	}
	close(slow.open)
	log.Close()
	if got := slow.written.Load() + dropped.Load(); got != lines {
		t.Errorf("got %d lines written or dropped, want %d", got, lines)
	}
}

func TestCloseDoesNotWaitForAReaderThatTakesNothing(t *testing.T) {
	stuck := &gate{open: make(chan struct{})}
	defer close(stuck.open)
	log := accesslog.New(stuck, func() {})
	log.Write(slog.NewRecord(time.Now(), slog.LevelInfo, "line", 0))
	closed := make(chan struct{})
	go func() { log.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("got no end within 10s, want one after a second")
	}
}
