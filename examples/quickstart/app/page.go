package main

import (
	"embed"
	"io/fs"
	"net/http"
)

// files are a page that shows what goes on between browser, sidecar and app. In page/latchkey is the npm package @latchkey/client as it is
// published; the tests of test/web keep it in step.
//
//go:embed page
var files embed.FS

// page serves the files below a path. The browser is told to load and run nothing but them.
func page(below string) http.Handler {
	content, err := fs.Sub(files, "page")
	if err != nil { // it was embedded
		panic(err)
	}
	server := http.StripPrefix(below, http.FileServerFS(content))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "+
			"require-trusted-types-for 'script'; trusted-types 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-cache")
		server.ServeHTTP(w, r)
	})
}
