// Package filetree owns what a mounted directory holds: reading one version of it, naming that version, and noticing the next. It
// knows how a kubelet swaps volumes, not what is in the files.
package filetree
