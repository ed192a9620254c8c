package sidecar_test

import (
	"testing"

	"github.com/latchkey-dev/latchkey/test/hostile"
)

func TestNoRequestIsReadInAnotherWayThanItWasJudged(t *testing.T) {
	w := newWorld(t)
	app := hostile.NewApp(t, w.appIP+":"+port)
	b := w.bundle()
	b.Policy = hostile.Policy()
	w.mount(b)
	w.start()
	hostile.Run(t, hostile.Target{Address: w.podIP + ":" + port, App: app, Token: w.token("alice", map[string]any{"roles": []string{"editor"}})})
}
