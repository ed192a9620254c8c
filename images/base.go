package main

import (
	"bytes"
	"encoding/pem"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// baseLayer is what a static binary cannot bring along: the public certificate authorities, in the file where Go looks for them and where
// people mount their own, and a name for the user.
func baseLayer() (layer, error) {
	return newLayer(
		file{name: "etc/group", mode: 0o644, content: []byte("root:x:0:\nnonroot:x:65532:\n")},
		file{name: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n")},
		file{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: authorities()},
	)
}

// authorities are Mozilla's, as the Go project keeps them: the version is pinned in go.mod, so an image does not depend on the machine that
// it was made on. Those that Mozilla trusts with reservations only are left out, since a file cannot express them.
func authorities() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes everything
		}
	}
	return all.Bytes()
}
