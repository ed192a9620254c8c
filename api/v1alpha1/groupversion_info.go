// Package v1alpha1 holds the objects that cluster users apply: SigningKey, AuthPolicy and TokenIssuer.
// Its field comments are the user manual. It knows Kubernetes' conventions, and nothing of how the objects are carried out.
//
// +kubebuilder:object:generate=true
// +groupName=auth.latchkey.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion names the API group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "auth.latchkey.dev", Version: "v1alpha1"}

// AddToScheme teaches a scheme the kinds of this package.
var AddToScheme = schemeBuilder.AddToScheme

var schemeBuilder = runtime.NewSchemeBuilder(func(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&SigningKey{}, &SigningKeyList{},
		&AuthPolicy{}, &AuthPolicyList{},
		&TokenIssuer{}, &TokenIssuerList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
})
