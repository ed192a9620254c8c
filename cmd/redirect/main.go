// Command redirect is the init container that the webhook injects where it may: it has the pod's kernel bring those who call the app's ports to the
// sidecar, and ends.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/latchkey-dev/latchkey/internal/redirect"
)

func main() {
	var ports []redirect.Port
	flag.Func("port", "`app:sidecar`: callers of the app's TCP port get to the sidecar's; may be given several times", func(text string) error {
		port, err := redirect.ParsePort(text)
		ports = append(ports, port)
		return err
	})
	flag.Parse()
	if len(ports) == 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "latchkey-redirect: --port=app:sidecar is required, and nothing else is taken")
		os.Exit(2)
	}
	if err := redirect.Write(ports); err != nil {
		fmt.Fprintf(os.Stderr, "latchkey-redirect: %v\nIf this node's kernel cannot redirect, set interception: Loopback in the AuthPolicy.\n", err)
		os.Exit(1)
	}
}
