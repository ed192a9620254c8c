package installation

import (
	"context"
	"fmt"
	"net"
	"strconv"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// WriteKubeconfig writes a file for a manager that runs outside a pod: it has the rights of the manager's ServiceAccount, and no others.
func WriteKubeconfig(ctx context.Context, kube client.Client, api *rest.Config, path string) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: Manager.Namespace, Name: Manager.Name}}
	token := &authenticationv1.TokenRequest{}
	if err := kube.SubResource("token").Create(ctx, account, token); err != nil {
		return fmt.Errorf("get a token of the manager's ServiceAccount: %w", err)
	}
	kubeconfig := clientcmdapi.NewConfig()
	kubeconfig.Clusters["test"] = &clientcmdapi.Cluster{Server: api.Host, CertificateAuthorityData: api.CAData}
	kubeconfig.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	kubeconfig.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	kubeconfig.CurrentContext = "test"
	return clientcmd.WriteToFile(*kubeconfig, path)
}

// WebhookAddress is where the API server looks for the webhook: the Service's own address, which is one of this machine.
func WebhookAddress(ctx context.Context, kube client.Client) (string, error) {
	var service corev1.Service
	if err := kube.Get(ctx, client.ObjectKey{Namespace: Manager.Namespace, Name: "latchkey-webhook"}, &service); err != nil {
		return "", fmt.Errorf("find the webhook's Service: %w", err)
	}
	return net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(service.Spec.Ports[0].Port))), nil
}
