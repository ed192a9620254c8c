package inject

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	// answersKept is how long an answer counts. Changed labels of the namespace are noticed at once; other policies that decide about pods change seldom.
	answersKept = time.Minute
	// mostAnswers bounds what is remembered.
	mostAnswers = 4096
)

// redirects finds out whether namespaces admit pods with a redirector: by asking for one, which nobody creates. Labels of the namespace alone would not
// tell, since there are defaults of the cluster and other engines of policies.
type redirects struct {
	client client.Client
	clock  clock.PassiveClock

	mu      sync.Mutex
	answers map[account]*answer
}

// account is a service account, by which some engines of policies judge pods.
type account struct{ namespace, name string }

// answer is what one namespace says of pods that use one service account. Who asks while somebody is at it waits for that.
type answer struct {
	mu      sync.Mutex
	version string // of the namespace
	until   time.Time
	refusal string // "" when it admits them
}

// refusal returns why a namespace does not admit pods with this redirector, that use the service account; "" when it does. An error says that nobody
// knows now.
func (r *redirects) refusal(ctx context.Context, namespace, serviceAccount string, redirector corev1.Container) (string, error) {
	metadata := metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	if err := r.client.Get(ctx, client.ObjectKey{Name: namespace}, &metadata); err != nil && !apierrors.IsNotFound(err) { // not in the cache yet
		return "", fmt.Errorf("read namespace %q: %w", namespace, err)
	}
	a := r.of(account{namespace, serviceAccount})
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := r.clock.Now(); a.version != metadata.ResourceVersion || !now.Before(a.until) {
		refusal, err := r.ask(ctx, namespace, serviceAccount, redirector)
		if err != nil {
			return "", fmt.Errorf("find out whether namespace %q admits interception %s: %w", namespace, v1alpha1.InterceptionRedirect, err)
		}
		a.version, a.until, a.refusal = metadata.ResourceVersion, now.Add(answersKept), refusal
	}
	return a.refusal, nil
}

func (r *redirects) of(pods account) *answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers[pods] == nil {
		if len(r.answers) >= mostAnswers || r.answers == nil {
			r.answers = map[account]*answer{}
		}
		r.answers[pods] = &answer{}
	}
	return r.answers[pods]
}

// +kubebuilder:rbac:groups="",resources=pods,verbs=create

// ask has the API server judge a pod, without storing it.
func (r *redirects) ask(ctx context.Context, namespace, serviceAccount string, redirector corev1.Container) (refusal string, err error) {
	redirector.VolumeMounts = nil
	rest := redirector.DeepCopy()
	rest.Name, rest.SecurityContext.Capabilities.Add = "app", nil
	rest.SecurityContext.RunAsUser, rest.SecurityContext.RunAsGroup, rest.SecurityContext.RunAsNonRoot = ptr.To(int64(user)), ptr.To(int64(user)), ptr.To(true)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "latchkey-asks-", Namespace: namespace, Labels: map[string]string{v1alpha1.LabelInject: v1alpha1.LabelInjectDisabled},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: serviceAccount, AutomountServiceAccountToken: ptr.To(false),
			InitContainers: []corev1.Container{redirector}, Containers: []corev1.Container{*rest},
		},
	}
	err = r.client.Create(ctx, pod, client.DryRunAll)
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return "", nil
	case errors.As(err, &status) && isRefusal(status.Status()):
		return status.Status().Message, nil
	}
	return "", err
}

// isRefusal: somebody has looked at the pod and does not want it. Other codes are about the moment, and so is a quota that is used up, or of which
// nobody knows yet what is used: it refuses any pod, and there may be room for the next one.
func isRefusal(status metav1.Status) bool {
	switch status.Code {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	}
	ofQuota := strings.Contains(status.Message, "exceeded quota: ") || strings.Contains(status.Message, "status unknown for quota: ")
	return status.Code >= http.StatusBadRequest && status.Code < http.StatusInternalServerError && !ofQuota
}

// choose decides how callers get to the sidecar of a pod.
func (r *redirects) choose(ctx context.Context, namespace string, pod *corev1.Pod, asked v1alpha1.Interception, sidecar Sidecar) (v1alpha1.Interception, error) {
	if asked == v1alpha1.InterceptionLoopback {
		return v1alpha1.InterceptionLoopback, nil
	}
	sidecar.Interception = v1alpha1.InterceptionRedirect
	why, err := r.refusal(ctx, namespace, pod.Spec.ServiceAccountName, redirector(sidecar))
	switch {
	case err != nil:
		return "", err
	case why == "":
		return v1alpha1.InterceptionRedirect, nil
	case asked == v1alpha1.InterceptionRedirect:
		return "", refusal{fmt.Errorf("AuthPolicy %q asks for interception %s, but namespace %q does not admit its init container (%s): "+
			"set spec.interception to %s or %s and have the app listen on 127.0.0.1, or have the namespace admit the capability NET_ADMIN",
			sidecar.Policy, asked, namespace, why, v1alpha1.InterceptionAuto, v1alpha1.InterceptionLoopback)}
	}
	return v1alpha1.InterceptionLoopback, nil
}
