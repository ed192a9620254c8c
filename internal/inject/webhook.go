package inject

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

// Path is where the webhook is served; config/webhook names it.
const Path = "/inject/pods"

var admissions = promauto.With(metrics.Registry).NewCounterVec(prometheus.CounterOpts{
	Name: "latchkey_manager_admissions_total",
	Help: "Pods that asked for the sidecar, by outcome: injected, refused (the pod or its policies must change), failed (could not be judged).",
}, []string{"outcome"})

// Options are what the webhook needs.
type Options struct {
	// SidecarImage is the image of the injected container.
	SidecarImage string
}

// Setup serves the webhook from the manager's webhook server. It answers on every replica, leader or not.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) error {
	if options.SidecarImage == "" {
		return errors.New("inject: no sidecar image given")
	}
	// Asked for now, so that the manager waits for it to be filled before it says that it is ready.
	if _, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.AuthPolicy{}); err != nil {
		return fmt.Errorf("inject: watch AuthPolicies: %w", err)
	}
	namespaces := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if _, err := mgr.GetCache().GetInformer(ctx, namespaces); err != nil {
		return fmt.Errorf("inject: watch namespaces: %w", err)
	}
	mgr.GetWebhookServer().Register(Path, &webhook.Admission{Handler: New(mgr.GetClient(), mgr.GetAPIReader(), options.SidecarImage)})
	return nil
}

// Webhook answers the API server's admission reviews. It never logs or quotes the pod: its environment may hold secrets.
type Webhook struct {
	cached, live client.Reader // of AuthPolicies
	image        string
	redirects    redirects
}

// New returns a webhook that injects a sidecar of this image. Cached and live both list AuthPolicies; live asks the API server itself, and is used only
// when cached knows no policy for a pod.
func New(cached client.Client, live client.Reader, image string) *Webhook {
	return &Webhook{cached: cached, live: live, image: image, redirects: redirects{client: cached, clock: clock.RealClock{}}}
}

// +kubebuilder:rbac:groups=auth.latchkey.dev,resources=authpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch

// Handle injects one pod, or says why not.
func (w *Webhook) Handle(ctx context.Context, request admission.Request) admission.Response {
	if request.Operation != admissionv1.Create {
		return admission.Allowed("only pods that are being created are injected")
	}
	var pod corev1.Pod
	if err := json.Unmarshal(request.Object.Raw, &pod); err != nil {
		admissions.WithLabelValues("failed").Inc()
		return admission.Errored(http.StatusBadRequest, errors.New("the object is no pod")) // the cause may quote it
	}

	if pod.Labels[v1alpha1.LabelInject] == v1alpha1.LabelInjectDisabled {
		return admission.Allowed("the pod asks to be left alone")
	}

	injected, err := w.inject(ctx, request.Namespace, &pod)
	var refused refusal
	switch {
	case errors.As(err, &refused):
		admissions.WithLabelValues("refused").Inc()
		log.FromContext(ctx).Info("pod refused", "generateName", pod.GenerateName, "reason", refused.Error())
		return admission.Denied(refused.Error())
	case err != nil:
		admissions.WithLabelValues("failed").Inc()
		return admission.Errored(http.StatusInternalServerError, err)
	}
	admissions.WithLabelValues("injected").Inc()
	return admission.Patched("", patch(&pod, injected)...)
}

// refusal is an error that only a change of the pod or of the namespace's policies will cure.
type refusal struct{ error }

func (w *Webhook) inject(ctx context.Context, namespace string, pod *corev1.Pod) (*corev1.Pod, error) {
	if value, labelled := pod.Labels[v1alpha1.LabelInject]; labelled && value != v1alpha1.LabelInjectEnabled {
		return nil, refusal{fmt.Errorf("metadata.labels[%s]: must be %q or %q, not %q",
			v1alpha1.LabelInject, v1alpha1.LabelInjectEnabled, v1alpha1.LabelInjectDisabled, value)}
	}
	policy, err := w.governing(ctx, namespace, pod)
	if err != nil {
		return nil, err
	}
	if policy == nil {
		return nil, refusal{fmt.Errorf("the pod asks for the sidecar, but no AuthPolicy of namespace %q selects it: "+
			"apply one whose selector matches the pod's labels, or %s", namespace, withoutSidecar)}
	}
	sidecar := Sidecar{Image: w.image, Policy: policy.Name, Ports: policy.Spec.Ports, HookSecret: rand.Text()}
	if sidecar.Interception, err = w.redirects.choose(ctx, namespace, pod, policy.Spec.Interception, sidecar); err != nil {
		return nil, err
	}
	injected, err := Pod(pod, sidecar)
	if err != nil {
		return nil, refusal{fmt.Errorf("AuthPolicy %q cannot protect this pod: %w", policy.Name, err)}
	}
	return injected, nil
}

// governing asks the API server itself before it says that no policy selects the pod: one that was applied just before the pod may not
// have reached the cache yet.
func (w *Webhook) governing(ctx context.Context, namespace string, pod *corev1.Pod) (*v1alpha1.AuthPolicy, error) {
	for _, reader := range []client.Reader{w.cached, w.live} {
		var policies v1alpha1.AuthPolicyList
		if err := reader.List(ctx, &policies, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list the AuthPolicies of namespace %q: %w", namespace, err)
		}
		if policy := Governing(pod.Labels, policies.Items); policy != nil {
			return policy, nil
		}
	}
	return nil, nil
}
