// Package watched tells changes that a controller must look at from those that it need not. It knows how caches tell of objects, not what any
// controller does with them.
package watched

import (
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// AfterStart leaves out the objects that were there when the manager began to lead. It is for objects that a controller does not reconcile but looks up:
// it reconciles each of its own then anyhow, and for each of the others it would have to find out whom they concern.
var AfterStart = predicate.Funcs{CreateFunc: func(created event.CreateEvent) bool { return !created.IsInInitialList }}
