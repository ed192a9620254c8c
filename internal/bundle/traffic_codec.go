package bundle

import (
	"fmt"
	"time"
)

type certificateDocument struct {
	Chain  string `json:"certificate"`
	Key    string `json:"privateKey"`
	Secret string `json:"secret,omitempty"`
}

type upstreamDocument struct {
	Protocol        Protocol `json:"protocol,omitempty"`
	ServerName      string   `json:"serverName,omitempty"`
	CA              string   `json:"ca,omitempty"`
	ConnectTimeout  string   `json:"connectTimeout,omitempty"`
	ResponseTimeout string   `json:"responseTimeout,omitempty"`
}

type limitsDocument struct {
	MaxConnections          int32  `json:"maxConnections,omitempty"`
	MaxConnectionsPerClient int32  `json:"maxConnectionsPerClient,omitempty"`
	MaxRequests             int32  `json:"maxRequests,omitempty"`
	MaxStreamsPerConnection int32  `json:"maxStreamsPerConnection,omitempty"`
	MaxHeaderBytes          int32  `json:"maxHeaderBytes,omitempty"`
	MaxBodyBytes            int64  `json:"maxBodyBytes,omitempty"`
	HeaderTimeout           string `json:"headerTimeout,omitempty"`
	StallTimeout            string `json:"stallTimeout,omitempty"`
	IdleTimeout             string `json:"idleTimeout,omitempty"`
}

type revocationDocument struct {
	DenyAfter string `json:"denyAfter"`
}

// writeTraffic fills in the document from the parts of traffic.go.
func (d *document) writeTraffic(b *Bundle) {
	if c := b.Certificate; c != nil {
		d.TLS = &certificateDocument{Chain: c.Chain, Key: string(c.Key), Secret: c.Secret}
	}
	u, l := b.Upstream, b.Limits
	d.Upstream = upstreamDocument{
		Protocol: u.Protocol, ServerName: u.ServerName, CA: u.CA, ConnectTimeout: written(u.ConnectTimeout), ResponseTimeout: written(u.ResponseTimeout),
	}
	d.Limits = limitsDocument{
		MaxConnections: l.MaxConnections, MaxConnectionsPerClient: l.MaxConnectionsPerClient, MaxRequests: l.MaxRequests,
		MaxStreamsPerConnection: l.MaxStreamsPerConnection, MaxHeaderBytes: l.MaxHeaderBytes, MaxBodyBytes: l.MaxBodyBytes,
		HeaderTimeout: written(l.HeaderTimeout), StallTimeout: written(l.StallTimeout), IdleTimeout: written(l.IdleTimeout),
	}
	if b.RevocationBound != 0 {
		d.Revocation = &revocationDocument{DenyAfter: b.RevocationBound.String()}
	}
}

// readTraffic is the way back.
func (d *document) readTraffic(b *Bundle) (faults []error) {
	duration := func(path, text string) time.Duration {
		if text == "" {
			return 0
		}
		value, err := time.ParseDuration(text)
		if err != nil || value <= 0 {
			faults = append(faults, fmt.Errorf(`%s: must be a duration like "5s"`, path))
		}
		return value
	}
	if c := d.TLS; c != nil {
		b.Certificate = &Certificate{Chain: c.Chain, Key: PrivateKey(c.Key), Secret: c.Secret}
	}
	u, l := d.Upstream, d.Limits
	b.Upstream = Upstream{
		Protocol: u.Protocol, ServerName: u.ServerName, CA: u.CA,
		ConnectTimeout:  duration("upstream.connectTimeout", u.ConnectTimeout),
		ResponseTimeout: duration("upstream.responseTimeout", u.ResponseTimeout),
	}
	b.Limits = Limits{
		MaxConnections: l.MaxConnections, MaxConnectionsPerClient: l.MaxConnectionsPerClient, MaxRequests: l.MaxRequests,
		MaxStreamsPerConnection: l.MaxStreamsPerConnection, MaxHeaderBytes: l.MaxHeaderBytes, MaxBodyBytes: l.MaxBodyBytes,
		HeaderTimeout: duration("limits.headerTimeout", l.HeaderTimeout), StallTimeout: duration("limits.stallTimeout", l.StallTimeout),
		IdleTimeout: duration("limits.idleTimeout", l.IdleTimeout),
	}
	if d.Revocation != nil {
		b.RevocationBound = duration("revocation.denyAfter", d.Revocation.DenyAfter)
	}
	return faults
}

func written(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
