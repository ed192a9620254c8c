// Package hostile sends a data plane requests that are made to be misread, over HTTP/1.1 and h2c, and holds it to what it answers and to what it
// lets through, byte for byte. It knows sockets and frames, not who is behind them, so any data plane can be its target.
//
// tricks.go, bytes.go and frames.go are the tricks; target.go sends them; app.go is the app that writes down what it got.
package hostile
