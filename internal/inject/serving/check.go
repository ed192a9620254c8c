package serving

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/latchkey-dev/latchkey/api/v1alpha1"
)

const (
	// reviewUID is that of the review that Check sends.
	reviewUID types.UID = "latchkey-check"
	// maxReviewBytes bounds what is read of the answer.
	maxReviewBytes = 1 << 20
	// checkTimeout is how long a webhook may take, as its configuration says.
	checkTimeout = 5 * time.Second
)

// Check asks each webhook about a pod of a namespace as the API server would: at the address of its Service, and trusting what the
// configuration trusts. Nothing is created. An error says which webhook the API server would wait for in vain.
func Check(ctx context.Context, c client.Reader, namespace string) error {
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	if err := c.Get(ctx, client.ObjectKey{Name: Configuration}, &configuration); err != nil {
		return fmt.Errorf("read the webhook's configuration: %w", err)
	}
	if len(configuration.Webhooks) == 0 {
		return fmt.Errorf("MutatingWebhookConfiguration %s names no webhook: apply it as it was installed", Configuration)
	}
	var problems []error
	for i := range configuration.Webhooks {
		if err := checkOne(ctx, c, configuration.Webhooks[i].ClientConfig, namespace); err != nil {
			problems = append(problems, fmt.Errorf("webhook %s: %w", configuration.Webhooks[i].Name, err))
		}
	}
	return errors.Join(problems...)
}

func checkOne(ctx context.Context, c client.Reader, target admissionregistrationv1.WebhookClientConfig, namespace string) error {
	if target.Service == nil {
		return errors.New("its configuration names no Service: apply it as it was installed")
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(target.CABundle) {
		return errors.New("the API server does not trust it yet: the manager that leads writes caBundle")
	}
	var service corev1.Service
	if err := c.Get(ctx, client.ObjectKey{Namespace: target.Service.Namespace, Name: target.Service.Name}, &service); err != nil {
		return fmt.Errorf("find its Service: %w", err)
	}
	host := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(ptr.Deref(target.Service.Port, 443))))
	return review(ctx, &http.Client{
		Timeout: checkTimeout,
		Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: trusted, ServerName: target.Service.Name + "." + target.Service.Namespace + ".svc",
		}},
	}, "https://"+host+ptr.Deref(target.Service.Path, ""), namespace)
}

// review sends a pod that asks for the sidecar. Whether a policy selects it does not matter: both answers show that the webhook judges.
func review(ctx context.Context, webhook *http.Client, url, namespace string) error {
	pod, err := json.Marshal(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: "latchkey-check", Labels: map[string]string{v1alpha1.LabelInject: v1alpha1.LabelInjectEnabled},
	}})
	if err != nil {
		return err
	}
	question, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: reviewUID, Namespace: namespace, Operation: admissionv1.Create, DryRun: ptr.To(true), Object: runtime.RawExtension{Raw: pod},
		},
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(question))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := webhook.Do(request)
	if err != nil {
		return fmt.Errorf("it does not answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer admissionv1.AdmissionReview
	err = json.NewDecoder(io.LimitReader(response.Body, maxReviewBytes)).Decode(&answer)
	switch {
	case err != nil || answer.Response == nil || answer.Response.UID != reviewUID:
		return fmt.Errorf("it gives no answer to an admission review, but status %d", response.StatusCode)
	case !answer.Response.Allowed && ptr.Deref(answer.Response.Result, metav1.Status{}).Code != http.StatusForbidden:
		return fmt.Errorf("it could not judge a pod: %s", ptr.Deref(answer.Response.Result, metav1.Status{}).Message)
	}
	return nil
}
