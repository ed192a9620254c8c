// Package distribution brings changed files into running pods at once. It knows which volumes of a pod are Latchkey's, what they should hold,
// and how to make a kubelet refresh them (a poke: an annotation patch); it does not know what the files mean.
//
// A kubelet alone takes 20 to 86 seconds to notice a changed ConfigMap or Secret. A patch of any annotation of the pod, sent after the API
// server has answered the write, makes it look at once.
package distribution
