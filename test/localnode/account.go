package localnode

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// tokenLifetime is how long a pod's token for the API server is good for; half of it is left when it is renewed.
const tokenLifetime = time.Hour

// serviceAccount keeps a fresh token of the pod's service account on disk, and returns the kubeconfig that uses it: so a process talks to
// the API server with the rights that RBAC gives to its service account. It returns "" for a pod that has or wants no such token.
func (s *sandbox) serviceAccount(ctx context.Context) (kubeconfig string, err error) {
	spec := s.pod.Spec
	if spec.ServiceAccountName == "" || spec.AutomountServiceAccountToken != nil && !*spec.AutomountServiceAccountToken {
		return "", nil
	}
	kubeconfig, token := filepath.Join(s.dir, "kubeconfig"), filepath.Join(s.dir, "token")
	if written, err := os.Stat(token); err == nil && time.Since(written.ModTime()) < tokenLifetime/2 {
		return kubeconfig, nil
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.pod.Namespace, Name: spec.ServiceAccountName}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(tokenLifetime / time.Second)),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: s.pod.Name, UID: s.pod.UID},
	}}
	if err := s.node.client.SubResource("token").Create(ctx, account, request); err != nil {
		return "", fmt.Errorf("token for ServiceAccount %s: %w", spec.ServiceAccountName, err)
	}
	if err := replaceFile(token, []byte(request.Status.Token)); err != nil {
		return "", err
	}
	return kubeconfig, replaceFile(kubeconfig, kubeconfigFor(s.node.config, token))
}

// kubeconfigFor points at the API server that config reaches, with the token in a file.
func kubeconfigFor(config *rest.Config, tokenFile string) []byte {
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["cluster"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	kubeconfig.AuthInfos["pod"] = &clientcmdapi.AuthInfo{TokenFile: tokenFile}
	kubeconfig.Contexts["pod"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "pod"}
	kubeconfig.CurrentContext = "pod"
	bytes, err := clientcmd.Write(*kubeconfig)
	if err != nil {
		panic(err) // a struct that is built right here always serialises
	}
	return bytes
}

func replaceFile(name string, data []byte) error {
	temporary := name + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}
