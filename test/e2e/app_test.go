//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// app is what examples/quickstart applies, in a namespace of its own.
type app struct {
	*testing.T
	namespace string
	replicas  int
	heralds   *heralds // optional
}

// quickstart applies examples/quickstart as it is, but for the namespace's name, the number of pods and other changes, and waits until all of it is ready.
// Latchkey is installed first where it is not.
func quickstart(t *testing.T, namespace string, replicas int, changes ...func(*unstructured.Unstructured)) *app {
	t.Helper()
	if installed == "" {
		install(t, "config")
	}
	a := &app{T: t, namespace: namespace, replicas: replicas}
	showWhenFailed(t, namespace)
	for _, object := range objects(t, "examples/quickstart/*.yaml") {
		if object.GetKind() == "Namespace" {
			object.SetName(namespace)
			t.Cleanup(func() { _ = kube.Delete(context.Background(), object) })
		} else {
			object.SetNamespace(namespace)
		}
		if object.GetKind() == "Deployment" {
			must(t, unstructured.SetNestedField(object.Object, int64(replicas), "spec", "replicas"))
		}
		for _, change := range changes {
			change(object)
		}
		apply(t, object)
	}
	a.waitReady()
	return a
}

// waitReady waits until the app and the token service are ready, the Services lead to them (kube-proxy takes a moment), and each sidecar hears of those who
// sign out: one that started before its token service tries every two seconds.
func (a *app) waitReady() {
	a.Helper()
	eventually(a.T, func(ctx context.Context) error {
		_, err := pods(ctx, a.namespace, client.MatchingLabels{"auth.latchkey.dev/pod": "issuer"}, 1)
		return err
	})
	found, address := a.pods(), a.service()
	for _, pod := range found {
		eventually(a.T, func(ctx context.Context) error { return followsRevocations(ctx, pod.Status.PodIP) })
	}
	eventually(a.T, func(ctx context.Context) error {
		got, err := get(ctx, address+"/", "")
		if err != nil {
			return err
		}
		return got.is(http.StatusUnauthorized)
	})
}

var following = regexp.MustCompile(`(?m)^latchkey_sidecar_revocation_stream_connected\{.*\} 1$`)

func followsRevocations(ctx context.Context, podIP string) error {
	got, err := get(ctx, "http://"+net.JoinHostPort(podIP, "15020")+"/metrics", "")
	if err == nil && !following.Match(got.body) {
		err = fmt.Errorf("the sidecar of %s does not follow revocations yet", podIP)
	}
	return err
}

var appLabel = client.MatchingLabels{"app": "quickstart"}

// pods are the app's, once all of them are ready.
func (a *app) pods() []corev1.Pod {
	a.Helper()
	var found []corev1.Pod
	eventually(a.T, func(ctx context.Context) (err error) {
		found, err = pods(ctx, a.namespace, appLabel, a.replicas)
		return err
	})
	return found
}

// addresses are where each pod of the app is reached from outside it.
func (a *app) addresses() []string {
	a.Helper()
	var found []string
	for _, pod := range a.pods() {
		found = append(found, "http://"+net.JoinHostPort(pod.Status.PodIP, "8080"))
	}
	return found
}

// service is the app's address for everybody else in the cluster.
func (a *app) service() string {
	a.Helper()
	var service corev1.Service
	must(a.T, kube.Get(a.Context(), client.ObjectKey{Namespace: a.namespace, Name: "quickstart"}, &service))
	return "http://" + net.JoinHostPort(service.Spec.ClusterIP, "8080")
}

func (a *app) patch(kind, change string) time.Time {
	a.Helper()
	return patch(a.T, kind, a.namespace, "quickstart", change)
}

// activeKey is the kid of the key that signs.
func (a *app) activeKey(ctx context.Context) (string, error) {
	key := &unstructured.Unstructured{}
	key.SetAPIVersion("auth.latchkey.dev/v1alpha1")
	key.SetKind("SigningKey")
	if err := kube.Get(ctx, client.ObjectKey{Namespace: a.namespace, Name: "quickstart"}, key); err != nil {
		return "", err
	}
	id, found, err := unstructured.NestedString(key.Object, "status", "activeKeyID")
	if err == nil && !found {
		err = errors.New("no key signs yet")
	}
	return id, err
}

const refreshCookie = "__Secure-latchkey-refresh"

// session is what a login or a refresh gives.
type session struct{ access, refresh string }

// web follows no redirect, keeps no cookies and knows no proxy. Connections are kept and shared.
var web = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       patience,
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// is an error that says what came instead, without what is secret in it.
func (a *answer) is(status int) error {
	if a.status == status {
		return nil
	}
	if a.status == http.StatusOK {
		return fmt.Errorf("got 200, want %d", status)
	}
	return fmt.Errorf("got %d %s, want %d", a.status, a.body, status)
}

func send(ctx context.Context, method, url string, header http.Header, body string) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	if header != nil {
		request.Header = header
	}
	response, err := web.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return &answer{status: response.StatusCode, header: response.Header, body: content}, nil
}

// get asks for a page, with an access token where there is one.
func get(ctx context.Context, url, token string) (*answer, error) {
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return send(ctx, http.MethodGet, url, header, "")
}

// login signs in one of the quickstart's users.
func login(ctx context.Context, app, user string) (session, error) {
	password := map[string]string{"alice": "wonderland", "bob": "can we fix it"}[user]
	a, err := send(ctx, http.MethodPost, app+"/auth/login", http.Header{"Content-Type": {"application/json"}},
		fmt.Sprintf(`{"username":%q,"password":%q}`, user, password))
	if err != nil {
		return session{}, err
	}
	return sessionOf(a)
}

func refresh(ctx context.Context, app string, s session) (session, error) {
	a, err := withCookie(ctx, app+"/auth/refresh", s)
	if err != nil {
		return session{}, err
	}
	return sessionOf(a)
}

func logout(ctx context.Context, app string, s session) error {
	a, err := withCookie(ctx, app+"/auth/logout", s)
	if err != nil {
		return err
	}
	return a.is(http.StatusNoContent)
}

func withCookie(ctx context.Context, url string, s session) (*answer, error) {
	return send(ctx, http.MethodPost, url, http.Header{"Cookie": {refreshCookie + "=" + s.refresh}}, "")
}

func sessionOf(a *answer) (session, error) {
	if err := a.is(http.StatusOK); err != nil {
		return session{}, err
	}
	var body struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		return session{}, err
	}
	for _, line := range a.header["Set-Cookie"] {
		if cookie, err := http.ParseSetCookie(line); err == nil && cookie.Name == refreshCookie {
			return session{access: body.Access, refresh: cookie.Value}, nil
		}
	}
	return session{}, errors.New("the answer brings no refresh token")
}

// signIn is a login that must work.
func (a *app) signIn(user string) session {
	a.Helper()
	s, err := login(a.Context(), a.service(), user)
	must(a.T, err)
	return s
}

// gets is a request that must be answered with a status.
func (a *app) gets(url, token string, status int) *answer {
	a.Helper()
	got, err := get(a.Context(), url, token)
	must(a.T, err)
	if err := got.is(status); err != nil {
		a.Errorf("GET %s: %v", url, err)
	}
	return got
}
