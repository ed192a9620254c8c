package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServingTLS is what the sidecar shows to callers.
type ServingTLS struct {
	// secretName names a Secret of type kubernetes.io/tls in this namespace: tls.crt with the certificate and its chain, tls.key with its private key, in
	// PEM. A change of it reaches running pods in about a second and touches no connection. One that is broken is not taken: Accepted says why,
	// and the last good one stays.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=253
	// +required
	SecretName string `json:"secretName,omitempty"`
}

// UpstreamProtocol is the HTTP that the app is called with.
//
// +kubebuilder:validation:Enum=Auto;HTTP1;HTTP2
type UpstreamProtocol string

const (
	// UpstreamAuto calls the app with HTTP/2 for gRPC, and with HTTP/1.1 for everything else; with tls, with what the app chooses by ALPN.
	UpstreamAuto UpstreamProtocol = "Auto"
	// UpstreamHTTP1 calls the app with HTTP/1.1.
	UpstreamHTTP1 UpstreamProtocol = "HTTP1"
	// UpstreamHTTP2 calls the app with HTTP/2.
	UpstreamHTTP2 UpstreamProtocol = "HTTP2"
)

// Upstream is how the sidecar calls the app.
type Upstream struct {
	// protocol is Auto (the default: HTTP/2 for gRPC, HTTP/1.1 for everything else, whatever the caller speaks; with tls, what the app
	// chooses by ALPN), HTTP1 or HTTP2 (without tls: h2c with prior knowledge). WebSockets are always HTTP/1.1.
	// +kubebuilder:default=Auto
	// +optional
	Protocol UpstreamProtocol `json:"protocol,omitempty"`

	// tls is for an app that itself speaks TLS. Default: it does not.
	// +optional
	TLS *UpstreamTLS `json:"tls,omitempty"`

	// connectTimeout is how long the app may take to accept a connection, and to finish the handshake of TLS. 10ms to 1m, default 1s. Then: 502
	// app_unreachable.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{0,4}(ms|s|m|h)([0-9]{1,5}(ms|s|m|h)){0,2}$`
	// +optional
	ConnectTimeout *metav1.Duration `json:"connectTimeout,omitempty"`

	// responseTimeout is how long the app may take to begin its answer once it has the request, and how long it may leave a body unread that comes
	// with it. Calls of gRPC bring their own deadline and have none here. 1s to 24h, default 5m. Then: 504 app_timeout.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{0,4}(ms|s|m|h)([0-9]{1,5}(ms|s|m|h)){0,2}$`
	// +optional
	ResponseTimeout *metav1.Duration `json:"responseTimeout,omitempty"`
}

// UpstreamTLS is how the app is known.
type UpstreamTLS struct {
	// serverName is a DNS name or IP address that the app's certificate is for. It is sent as SNI.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	ServerName string `json:"serverName,omitempty"`

	// certificateAuthority is one or more certificates in PEM, up to 64 kB, that the app's certificate must lead to; it may be the app's own. The
	// authorities that the internet trusts count for nothing here.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +required
	CertificateAuthority string `json:"certificateAuthority,omitempty"`
}

// Limits bound what callers can take up in each pod.
type Limits struct {
	// maxConnections is how many connections may be open at once. 1 to 100000, default 10000. One more is answered 503 (with tls: closed) at once.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +optional
	MaxConnections int32 `json:"maxConnections,omitempty"`

	// maxConnectionsPerClient is how many of them may come from one address. 1 to 100000. Default: as many as maxConnections, because behind a
	// load balancer all come from one.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +optional
	MaxConnectionsPerClient int32 `json:"maxConnectionsPerClient,omitempty"`

	// maxRequests is how many requests may be under way at once, streams included. 1 to 100000, default 10000. One more is answered 503 overloaded.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +optional
	MaxRequests int32 `json:"maxRequests,omitempty"`

	// maxStreamsPerConnection is how many requests may be under way at once on one HTTP/2 connection. 1 to 10000, default 250.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	MaxStreamsPerConnection int32 `json:"maxStreamsPerConnection,omitempty"`

	// maxHeaderBytes is how long a request may be without its body. 4096 to 1048576, default 65536. One that is longer is answered 431.
	// +kubebuilder:validation:Minimum=4096
	// +kubebuilder:validation:Maximum=1048576
	// +optional
	MaxHeaderBytes int32 `json:"maxHeaderBytes,omitempty"`

	// maxBodyBytes is how long the body of a request may be, all messages of a gRPC stream together. WebSockets have no such body. At least 1.
	// Default: any. One that is longer is answered 413 body_too_large.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1125899906842624
	// +optional
	MaxBodyBytes int64 `json:"maxBodyBytes,omitempty"`

	// headerTimeout is how long a caller may take for the handshake of TLS, and again to send a request without its body. 1s to 5m, default 10s. Then
	// the connection is closed.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{0,4}(ms|s|m|h)([0-9]{1,5}(ms|s|m|h)){0,2}$`
	// +optional
	HeaderTimeout *metav1.Duration `json:"headerTimeout,omitempty"`

	// stallTimeout is how long a caller may send nothing of a body that is awaited before the app has begun to answer, or take nothing of an answer.
	// Conversations in which both are silent are not concerned. 1s to 1h, default 1m. Then: 408 caller_stalled, or the answer is cut off.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{0,4}(ms|s|m|h)([0-9]{1,5}(ms|s|m|h)){0,2}$`
	// +optional
	StallTimeout *metav1.Duration `json:"stallTimeout,omitempty"`

	// idleTimeout is how long a connection without requests is kept. 1s to 24h, default 5m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{0,4}(ms|s|m|h)([0-9]{1,5}(ms|s|m|h)){0,2}$`
	// +optional
	IdleTimeout *metav1.Duration `json:"idleTimeout,omitempty"`
}

// LossOfRevocations is what becomes of tokens while nobody knows which were revoked.
//
// +kubebuilder:validation:Enum=Allow;Deny
type LossOfRevocations string

const (
	// LossAllow goes on with what is known.
	LossAllow LossOfRevocations = "Allow"
	// LossDeny refuses an issuer's tokens while its token service has not been heard for some time.
	LossDeny LossOfRevocations = "Deny"
)

// PolicyRevocation says what the loss of a stream of revocations does.
//
// +kubebuilder:validation:XValidation:rule="!has(self.after) || self.onLoss == 'Deny'",message="after goes with onLoss: Deny only",fieldPath=".after"
type PolicyRevocation struct {
	// onLoss is Allow (the default: what is known of revocations stays in force, and a metric says how old it is) or Deny: tokens of an issuer whose
	// token service was not heard for longer than after are answered 503 revocations_unknown, and streams end. Issuers without a token
	// service revoke nothing and are not concerned.
	// +kubebuilder:default=Allow
	// +optional
	OnLoss LossOfRevocations `json:"onLoss,omitempty"`

	// after is how old what is known may be. 30s to 24h, default 1m. Only with onLoss: Deny. A restart does not begin it anew; a new pod
	// that has heard nothing yet takes no tokens.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{0,4}(ms|s|m|h)([0-9]{1,5}(ms|s|m|h)){0,2}$`
	// +optional
	After *metav1.Duration `json:"after,omitempty"`
}
