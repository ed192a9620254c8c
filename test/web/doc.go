// Package web proves the browser's half of Latchkey: the npm package of web/client by itself, and in a real browser, with a real sidecar and a
// real token service at the other end. What the tests print, and pictures of what the browser showed, is kept in test/output/web.
package web
