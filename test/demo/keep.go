package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// keep leaves everything up, and says what can be done with it.
func (d *demo) keep(ctx context.Context) {
	kubectl := "kubectl"
	if _, err := exec.LookPath(kubectl); err != nil {
		kubectl = filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	}
	s := d.screen
	s.chapter("It is yours")
	s.indented("In another shell, from the repository's directory:\n\n")
	s.command(". " + d.relative(d.vars.file))
	s.command("export KUBECONFIG=$PWD/" + d.relative(d.kubeconfig()))
	if kubectl != "kubectl" {
		s.command("alias kubectl=" + kubectl)
	}
	s.indented("\nSign in and be somebody (or bob, whose password is: can we fix it)\n\n")
	s.command(alice.curl())
	s.command(`ACCESS=$(` + strings.Replace(alice.curl(), "-i", "-s", 1) + ` | sed 's/.*"access_token":"\([^"]*\)".*/\1/')`)
	s.command(request{Path: "$APP/", Headers: []string{asHolder}}.curl())
	s.indented("\nLook around, and change something: it is in force within a second\n\n")
	for _, command := range []string{
		"kubectl get latchkey -A",
		"kubectl -n quickstart edit authpolicy quickstart",
		"kubectl -n quickstart edit tokenissuer quickstart",
		"kubectl -n quickstart get signingkey quickstart -o yaml",
		"kubectl -n quickstart get pods -o wide",
		"kubectl -n quickstart rollout restart deployment quickstart",
	} {
		s.command(command)
	}
	s.indented("\nLook inside a sidecar: what it has applied, what it counts, and, on the pod's own loopback address (127.78 for 127.77), its recent decisions\n\n")
	s.command(`POD=$(kubectl -n quickstart get pods -l app=quickstart -o jsonpath='{.items[0].status.podIP}')`)
	s.command("curl -s http://$POD:15020/applied")
	s.command("curl -s http://$POD:15020/metrics")
	s.command("curl -s http://${POD/127.77/127.78}:15020/decisions")
	s.indented("\nKill any process: it is started again after a second, as by a kubelet\n\n")
	s.command("pkill -9 latchkey-issuer")
	s.indented("\nWhat they print: " + d.relative(filepath.Join(d.dir, "logs")) + "/<namespace>/<pod>/<container>.log\n\n")
	s.title(margin + "Ctrl-C ends it all.")
	<-ctx.Done()
	s.blank()
}

// relative is a file's name as seen from the repository's directory.
func (d *demo) relative(file string) string {
	if name, err := filepath.Rel(d.root, file); err == nil {
		return name
	}
	return file
}
