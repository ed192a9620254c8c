package main

import (
	"context"
	"fmt"
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
	s.note(indent("So that there is something to see, tokens are good for a minute from now on, and keys take turns:\n\n"))
	if _, err := d.try(ctx, (*trial).enliven); err != nil {
		s.trouble(err)
	}
	s.note(indent("Open this page, in Chromium or a browser of its family: others keep such cookies over https alone\n\n"))
	s.title(indent(d.vars.expand("$APP" + page)))
	s.note("\n" + indent("In another shell, in the repository's directory:\n\n"))
	s.command(". " + d.relative(d.vars.file))
	s.command("export KUBECONFIG=$PWD/" + d.relative(d.kubeconfig()))
	if kubectl != "kubectl" {
		s.command("alias kubectl=" + kubectl)
	}
	s.note("\n" + indent("Be alice; or sign in as bob, whose password is: can we fix it"))
	s.command(as("$ACCESS").curl())
	s.command(bob.curl())
	s.note("\n" + indent("An access token is good for a minute: sign in for another. A refresh token is good once: used again after two seconds it\n"+
		"counts as stolen, and ends the session"))
	s.command(`ACCESS=$(` + strings.Replace(alice.curl(), "curl -i", "curl -s", 1) + ` | sed 's/.*"access_token":"\([^"]*\).*/\1/')`)
	s.command(refreshWith("$REFRESH").curl())
	s.note("\n" + indent("Look around, and change something: it is in force within a second"))
	for _, command := range []string{
		"kubectl get latchkey -A",
		"kubectl -n quickstart edit authpolicy quickstart",
		"kubectl -n quickstart edit tokenissuer quickstart",
		"kubectl -n quickstart get signingkey quickstart -o yaml",
		"kubectl -n quickstart get pods -o wide",
		"kubectl apply -f examples/quickstart   # back to what the files say",
		"kubectl -n quickstart rollout restart deployment quickstart",
		"kubectl -n quickstart logs deployment/quickstart -c latchkey -f",
	} {
		s.command(command)
	}
	s.note("\n" + indent("Look inside the sidecar: what it has applied, what it counts; and, on the loopback address of its pod alone, what it decided"))
	s.command(`POD=$(kubectl -n quickstart get pods -l app=quickstart -o jsonpath='{.items[0].status.podIP}')`)
	s.command("curl -s http://$POD:15020/applied")
	s.command("curl -s http://$POD:15020/metrics")
	s.command("curl -s http://127.78.${POD#127.77.}:15020/decisions")
	s.note("\n" + indent("Kill any process: the local node starts it again after a second, as a kubelet would"))
	for _, program := range []string{"latchkey-sidecar", "quickstart-app", "latchkey-issuer", "latchkey-manager"} {
		s.command(killing(os.Getpid(), program))
	}
	s.note("\n" + indent("What they print is in "+d.relative(filepath.Join(d.dir, "logs"))+"/<namespace>/<pod>/<container>.log"))
	s.title("\n" + margin + "Ctrl-C ends it all.")
	<-ctx.Done()
	s.blank()
}

// page is where the quickstart's app shows what goes on.
const page = "/public/"

// enliven makes tokens and keys change while somebody looks, and leaves a new pair, since the checks have left none that is good for long.
func (t *trial) enliven() {
	t.patch("tokenissuer", `{"spec":{"accessToken":{"ttl":"1m"}}}`)
	t.patch("signingkey", `{"spec":{"rotateEvery":"45s","publishLead":"15s","retain":"2m"}}`)
	t.must(t.use(t.signIn(alice)))
}

// killing is the command that kills what runs of a program among the children of a process, and nothing of another demo's. It goes by the
// command line, since the kernel cuts the names of processes to 15 characters, and pkill finds none by a longer one.
func killing(parent int, program string) string {
	return fmt.Sprintf("pkill -9 -P %d -f /bin/%s", parent, program)
}

// relative is a file's name as seen from the repository's directory.
func (d *demo) relative(file string) string {
	if name, err := filepath.Rel(d.root, file); err == nil {
		return name
	}
	return file
}
