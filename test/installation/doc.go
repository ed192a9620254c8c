// Package installation brings Latchkey up as config/ prescribes, on a real API server and a local node, for the demo and for tests of the
// whole. It knows the files and the programs, and nothing of what is then done with them.
package installation
