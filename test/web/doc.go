// Package web proves the browser's half of Latchkey: the npm package of web/client by itself, and in a real browser, with real sidecars and a
// real token service at the other end; in a browser that runs no scripts, pages that are rendered on a server; and the page
// of examples/quickstart in a whole cluster. What the tests print, and pictures of what the browser showed, is kept in test/output/web.
package web
