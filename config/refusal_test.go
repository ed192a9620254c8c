package config_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

const (
	signingKey = `{apiVersion: auth.latchkey.dev/v1alpha1, kind: SigningKey, metadata: {name: wrong, namespace: default}, `
	authPolicy = `{apiVersion: auth.latchkey.dev/v1alpha1, kind: AuthPolicy, metadata: {name: wrong, namespace: default}, `
	tokens     = `{apiVersion: auth.latchkey.dev/v1alpha1, kind: TokenIssuer, metadata: {name: wrong, namespace: default}, `

	// The required part of each spec, to be followed by what is wrong.
	policy = `selector: {}, ports: [8080], rules: [{access: Anonymous}], `
	issuer = `signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: "https://auth.example", accessToken: {audiences: [web]}, `
	// An issuer entry of a policy, without its keys.
	foreign = `url: "https://idp.example", audiences: [web], `

	longName = "a-name-that-is-longer-than-fifty-two-characters-and-so-on"
)

// What is wrong is refused when it is applied, and the answer says where and why.
func TestWrongObjectsAreRefusedWithPathAndReason(t *testing.T) {
	cases := []struct {
		name   string
		object string
		path   string
		reason string
	}{
		{
			name:   "AuthPolicy: a protocol that nobody speaks",
			object: authPolicy + `spec: {` + policy + `upstream: {protocol: HTTP3}}}`,
			path:   "spec.upstream.protocol",
			reason: `Unsupported value: "HTTP3"`,
		},
		{
			name:   "AuthPolicy: TLS to the app without its authority",
			object: authPolicy + `spec: {` + policy + `upstream: {tls: {serverName: shop.local}}}}`,
			path:   "spec.upstream.tls.certificateAuthority",
			reason: "Required value",
		},
		{
			name:   "AuthPolicy: TLS without a Secret",
			object: authPolicy + `spec: {` + policy + `tls: {}}}`,
			path:   "spec.tls.secretName",
			reason: "Required value",
		},
		{
			name:   "AuthPolicy: a timeout of nothing",
			object: authPolicy + `spec: {` + policy + `limits: {headerTimeout: 0s}}}`,
			path:   "spec.limits.headerTimeout",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: headers that hardly fit a token",
			object: authPolicy + `spec: {` + policy + `limits: {maxHeaderBytes: 100}}}`,
			path:   "spec.limits.maxHeaderBytes",
			reason: "greater than or equal to 4096",
		},
		{
			name:   "AuthPolicy: a bound on a loss that is allowed",
			object: authPolicy + `spec: {` + policy + `revocation: {after: 1m}}}`,
			path:   "spec.revocation.after",
			reason: "after goes with onLoss: Deny only",
		},
		{
			name:   "SigningKey: an unknown field",
			object: signingKey + `spec: {rotateEach: 1h}}`,
			path:   "spec.rotateEach",
			reason: "unknown field",
		},
		{
			name:   "SigningKey: an unknown algorithm",
			object: signingKey + `spec: {algorithm: ES256K}}`,
			path:   "spec.algorithm",
			reason: `Unsupported value: "ES256K"`,
		},
		{
			name:   "SigningKey: RSA bits for an elliptic curve",
			object: signingKey + `spec: {algorithm: ES256, rsaBits: 2048}}`,
			path:   "spec.rsaBits",
			reason: "rsaBits goes with an RS or PS algorithm only",
		},
		{
			name:   "SigningKey: RSA bits with the default algorithm",
			object: signingKey + `spec: {rsaBits: 2048}}`,
			path:   "spec.rsaBits",
			reason: "rsaBits goes with an RS or PS algorithm only",
		},
		{
			name:   "SigningKey: a short RSA key",
			object: signingKey + `spec: {algorithm: RS256, rsaBits: 1024}}`,
			path:   "spec.rsaBits",
			reason: "Unsupported value: 1024",
		},
		{
			name:   "SigningKey: no duration",
			object: signingKey + `spec: {rotateEvery: soon}}`,
			path:   "spec.rotateEvery",
			reason: "must be a duration in hours, minutes and seconds",
		},
		{
			name:   "SigningKey: a duration in days",
			object: signingKey + `spec: {rotateEvery: 30d}}`,
			path:   "spec.rotateEvery",
			reason: "must be a duration in hours, minutes and seconds",
		},
		{
			name:   "SigningKey: rotation too often",
			object: signingKey + `spec: {rotateEvery: 9s, publishLead: 1s}}`,
			path:   "spec.rotateEvery",
			reason: "must be at least 10s",
		},
		{
			name:   "SigningKey: rotation never",
			object: signingKey + `spec: {rotateEvery: 87601h}}`,
			path:   "spec.rotateEvery",
			reason: "must be at most 87600h",
		},
		{
			name:   "SigningKey: a lead as long as the rotation",
			object: signingKey + `spec: {rotateEvery: 1h, publishLead: 1h}}`,
			path:   "spec.publishLead",
			reason: "publishLead must be shorter than rotateEvery",
		},
		{
			name:   "SigningKey: a rotation shorter than the default lead",
			object: signingKey + `spec: {rotateEvery: 30m}}`,
			path:   "spec.publishLead",
			reason: "publishLead must be shorter than rotateEvery",
		},
		{
			name:   "SigningKey: more keys than verifiers take",
			object: signingKey + `spec: {rotateEvery: 10s, publishLead: 1s, retain: 1001s}}`,
			path:   "spec.retain",
			reason: "retain must be at most 100 times rotateEvery",
		},
		{
			name:   "SigningKey: the default retain with a rotation every few minutes",
			object: signingKey + `spec: {rotateEvery: 10m, publishLead: 1m}}`,
			path:   "spec.retain",
			reason: "rotate less often, or retain for less long",
		},
		{
			name:   "SigningKey: a selector of namespaces that nobody asks for",
			object: signingKey + `spec: {allowedNamespaces: {selector: {matchLabels: {a: b}}}}}`,
			path:   "spec.allowedNamespaces.selector",
			reason: "selector goes with from: Selector, and only with it",
		},
		{
			name:   "SigningKey: namespaces by a selector that is missing",
			object: signingKey + `spec: {allowedNamespaces: {from: Selector}}}`,
			path:   "spec.allowedNamespaces.selector",
			reason: "selector goes with from: Selector, and only with it",
		},
		{
			name:   "SigningKey: namespaces by another word",
			object: signingKey + `spec: {allowedNamespaces: {from: Some}}}`,
			path:   "spec.allowedNamespaces.from",
			reason: `Unsupported value: "Some"`,
		},
		{
			name:   "SigningKey: no lead",
			object: signingKey + `spec: {publishLead: 0s}}`,
			path:   "spec.publishLead",
			reason: "must be at least 1s",
		},
		{
			name:   "SigningKey: to wait for less than nothing",
			object: signingKey + `spec: {acknowledgeWithin: -1s}}`,
			path:   "spec.acknowledgeWithin",
			reason: "must be a duration in hours, minutes and seconds",
		},
		{
			name:   "SigningKey: to wait without end",
			object: signingKey + `spec: {acknowledgeWithin: 87601h}}`,
			path:   "spec.acknowledgeWithin",
			reason: "must be at most 87600h",
		},
		{
			name:   "SigningKey: no retention",
			object: signingKey + `spec: {retain: 0s}}`,
			path:   "spec.retain",
			reason: "must be at least 1s",
		},
		{
			name:   "SigningKey: endless retention",
			object: signingKey + `spec: {retain: 87601h}}`,
			path:   "spec.retain",
			reason: "must be at most 87600h",
		},
		{
			name:   "SigningKey: an empty key id",
			object: signingKey + `spec: {revokedKeyIDs: [""]}}`,
			path:   "spec.revokedKeyIDs[0]",
			reason: "at least 1 chars long",
		},
		{
			name:   "SigningKey: a key id twice",
			object: signingKey + `spec: {revokedKeyIDs: [a, a]}}`,
			path:   "spec.revokedKeyIDs[1]",
			reason: "Duplicate value",
		},
		{
			name:   "SigningKey: a name too long for what is named after it",
			object: strings.ReplaceAll(signingKey, "wrong", longName) + `spec: {}}`,
			path:   "metadata: Invalid value",
			reason: "the name must be at most 52 characters",
		},
		{
			name:   "AuthPolicy: a prefix with a slash at its end",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Anonymous, paths: [{prefix: /public/}]}]}}`,
			path:   "spec.rules[0].paths[0].prefix",
			reason: "must not end with /",
		},
		{
			name:   "AuthPolicy: a path that no request can have",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Anonymous, paths: [{exact: /a/../b}]}]}}`,
			path:   "spec.rules[0].paths[0].exact",
			reason: "no request can have such a path",
		},
		{
			name:   "AuthPolicy: no selector",
			object: authPolicy + `spec: {ports: [8080], rules: [{access: Anonymous}]}}`,
			path:   "spec.selector",
			reason: "Required value",
		},
		{
			name:   "AuthPolicy: no ports",
			object: authPolicy + `spec: {selector: {}, rules: [{access: Anonymous}]}}`,
			path:   "spec.ports",
			reason: "Required value",
		},
		{
			name:   "AuthPolicy: an empty list of ports",
			object: authPolicy + `spec: {selector: {}, ports: [], rules: [{access: Anonymous}]}}`,
			path:   "spec.ports",
			reason: "should have at least 1 items",
		},
		{
			name:   "AuthPolicy: a port that is none",
			object: authPolicy + `spec: {selector: {}, ports: [0], rules: [{access: Anonymous}]}}`,
			path:   "spec.ports[0]",
			reason: "greater than or equal to 1",
		},
		{
			name:   "AuthPolicy: a way of interception that there is not",
			object: authPolicy + `spec: {selector: {}, ports: [8080], interception: None, rules: [{access: Anonymous}]}}`,
			path:   "spec.interception",
			reason: "supported values: \"Auto\", \"Redirect\", \"Loopback\"",
		},
		{
			name:   "AuthPolicy: one of the sidecar's ports",
			object: authPolicy + `spec: {selector: {}, ports: [15020], rules: [{access: Anonymous}]}}`,
			path:   "spec.ports",
			reason: "ports 15020 to 15029 are the sidecar's own",
		},
		{
			name:   "AuthPolicy: a port twice",
			object: authPolicy + `spec: {selector: {}, ports: [8080, 8080], rules: [{access: Anonymous}]}}`,
			path:   "spec.ports[1]",
			reason: "Duplicate value",
		},
		{
			name:   "AuthPolicy: nobody whose tokens could be valid",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Authenticated}]}}`,
			path:   "spec.issuers",
			reason: "name at least one issuer",
		},
		{
			name:   "AuthPolicy: neither issuers nor rules",
			object: authPolicy + `spec: {selector: {}, ports: [8080]}}`,
			path:   "spec.issuers",
			reason: "name at least one issuer",
		},
		{
			name:   "AuthPolicy: an unknown default",
			object: authPolicy + `spec: {` + policy + `default: Allow}}`,
			path:   "spec.default",
			reason: `Unsupported value: "Allow"`,
		},
		{
			name:   "AuthPolicy: Anonymous as the default",
			object: authPolicy + `spec: {` + policy + `default: Anonymous}}`,
			path:   "spec.default",
			reason: `Unsupported value: "Anonymous"`,
		},
		{
			name:   "AuthPolicy: default Authenticated without issuers",
			object: authPolicy + `spec: {` + policy + `default: Authenticated}}`,
			path:   "spec.issuers",
			reason: "name at least one issuer",
		},
		{
			name:   "AuthPolicy: an issuer without keys",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `}]}}`,
			path:   "spec.issuers[0].keys",
			reason: "Required value",
		},
		{
			name:   "AuthPolicy: an issuer with no source of keys",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {}}]}}`,
			path:   "spec.issuers[0].keys",
			reason: "set exactly one of tokenIssuerRef, signingKeyRef, inline, jwksURI and discoveryURL",
		},
		{
			name:   "AuthPolicy: an issuer with two sources of keys",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {inline: "{}", signingKeyRef: {name: key}}}]}}`,
			path:   "spec.issuers[0].keys",
			reason: "set exactly one of tokenIssuerRef, signingKeyRef, inline, jwksURI and discoveryURL",
		},
		{
			name:   "AuthPolicy: keys without TLS",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {jwksURI: "http://idp.example/certs"}}]}}`,
			path:   "spec.issuers[0].keys.jwksURI",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: a discovery document with a password in its URL",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {discoveryURL: "https://me:secret@idp.example/"}}]}}`,
			path:   "spec.issuers[0].keys.discoveryURL",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: keys from a URL and a document",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {jwksURI: "https://a/", discoveryURL: "https://a/"}}]}}`,
			path:   "spec.issuers[0].keys",
			reason: "set exactly one of tokenIssuerRef, signingKeyRef, inline, jwksURI and discoveryURL",
		},
		{
			name:   "AuthPolicy: an authority for keys that are not fetched",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {inline: "{}", certificateAuthority: "x"}}]}}`,
			path:   "spec.issuers[0].keys.certificateAuthority",
			reason: "certificateAuthority goes with jwksURI or discoveryURL only",
		},
		{
			name:   "AuthPolicy: foreign keys without a url",
			object: authPolicy + `spec: {` + policy + `issuers: [{audiences: [a], keys: {jwksURI: "https://a/"}}]}}`,
			path:   "spec.issuers[0].url",
			reason: "set url, unless keys.tokenIssuerRef is set",
		},
		{
			name:   "AuthPolicy: a url beside a TokenIssuer",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {tokenIssuerRef: {name: issuer}}}]}}`,
			path:   "spec.issuers[0].url",
			reason: "set url, unless keys.tokenIssuerRef is set",
		},
		{
			name:   "AuthPolicy: no url",
			object: authPolicy + `spec: {` + policy + `issuers: [{audiences: [web], keys: {signingKeyRef: {name: key}}}]}}`,
			path:   "spec.issuers[0].url",
			reason: "set url, unless keys.tokenIssuerRef is set",
		},
		{
			name:   "AuthPolicy: no audiences",
			object: authPolicy + `spec: {` + policy + `issuers: [{url: "https://idp.example", keys: {signingKeyRef: {name: key}}}]}}`,
			path:   "spec.issuers[0].audiences",
			reason: "Required value",
		},
		{
			name:   "AuthPolicy: algorithm none",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `algorithms: [none], keys: {signingKeyRef: {name: key}}}]}}`,
			path:   "spec.issuers[0].algorithms[0]",
			reason: `Unsupported value: "none"`,
		},
		{
			name:   "AuthPolicy: more skew than a minute",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `clockSkew: 61s, keys: {signingKeyRef: {name: key}}}]}}`,
			path:   "spec.issuers[0].clockSkew",
			reason: "must be between 0s and 1m",
		},
		{
			name:   "AuthPolicy: negative skew",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `clockSkew: -1s, keys: {signingKeyRef: {name: key}}}]}}`,
			path:   "spec.issuers[0].clockSkew",
			reason: "must be between 0s and 1m",
		},
		{
			name:   "AuthPolicy: a path that is both",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Deny, paths: [{exact: /a, prefix: /b}]}]}}`,
			path:   "spec.rules[0].paths[0]",
			reason: "set exactly one of exact, prefix and pattern",
		},
		{
			name:   "AuthPolicy: a path that is neither",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Deny, paths: [{}]}]}}`,
			path:   "spec.rules[0].paths[0]",
			reason: "set exactly one of exact, prefix and pattern",
		},
		{
			name:   "AuthPolicy: a path that is not rooted",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Deny, paths: [{exact: admin}]}]}}`,
			path:   "spec.rules[0].paths[0].exact",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: a method in small letters",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Deny, methods: [get]}]}}`,
			path:   "spec.rules[0].methods[0]",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: a method that opens a tunnel",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Deny, methods: [GET, CONNECT]}]}}`,
			path:   "spec.rules[0].methods[1]",
			reason: "no rule can allow CONNECT",
		},
		{
			name:   "AuthPolicy: an unknown access",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Allow}]}}`,
			path:   "spec.rules[0].access",
			reason: `Unsupported value: "Allow"`,
		},
		{
			name:   "AuthPolicy: claims asked of nobody",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Anonymous, claims: [{claim: roles, anyOf: [admin]}]}]}}`,
			path:   "spec.rules[0].access",
			reason: "claims, scopes and expression go with access: Authenticated only",
		},
		{
			name:   "AuthPolicy: scopes asked of nobody",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Deny, scopes: [a]}]}}`,
			path:   "spec.rules[0].access",
			reason: "claims, scopes and expression go with access: Authenticated only",
		},
		{
			name:   "AuthPolicy: an expression asked of nobody",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Anonymous, expression: "true"}]}}`,
			path:   "spec.rules[0].access",
			reason: "claims, scopes and expression go with access: Authenticated only",
		},
		{
			name:   "AuthPolicy: two scopes in one",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Authenticated, scopes: ["a b"]}]}}`,
			path:   "spec.rules[0].scopes[0]",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: a host with a port",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Deny, hosts: ["shop.example:8080"]}]}}`,
			path:   "spec.rules[0].hosts[0]",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: a wildcard within a host",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Deny, hosts: ["shop.*.example"]}]}}`,
			path:   "spec.rules[0].hosts[0]",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: a wildcard within a segment",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{access: Deny, paths: [{pattern: /users/*.json}]}]}}`,
			path:   "spec.rules[0].paths[0].pattern",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: an unknown mode",
			object: authPolicy + `spec: {` + policy + `mode: DryRun}}`,
			path:   "spec.mode",
			reason: `Unsupported value: "DryRun"`,
		},
		{
			name:   "AuthPolicy: a claim rule that is nothing",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {inline: x}, claimValidationRules: [{message: x}]}]}}`,
			path:   "spec.issuers[0].claimValidationRules[0]",
			reason: "set exactly one of claim and expression",
		},
		{
			name:   "AuthPolicy: a claim rule without a value",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {inline: x}, claimValidationRules: [{claim: x}]}]}}`,
			path:   "spec.issuers[0].claimValidationRules[0].requiredValue",
			reason: "requiredValue goes with claim, and claim with requiredValue",
		},
		{
			name:   "AuthPolicy: a claim mapping that is two things",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {inline: x}, claimMappings: [{name: a, claim: b, expression: c}]}]}}`,
			path:   "spec.issuers[0].claimMappings[0]",
			reason: "set exactly one of claim and expression",
		},
		{
			name:   "AuthPolicy: two claim mappings of one name",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {inline: x}, claimMappings: [{name: a, claim: b}, {name: a, claim: c}]}]}}`,
			path:   "spec.issuers[0].claimMappings[1]",
			reason: "Duplicate value",
		},
		{
			name:   "AuthPolicy: a claim without values",
			object: authPolicy + `spec: {selector: {}, ports: [8080], rules: [{claims: [{claim: roles}]}]}}`,
			path:   "spec.rules[0].claims[0].anyOf",
			reason: "Required value",
		},
		{
			name:   "AuthPolicy: a header with a space",
			object: authPolicy + `spec: {` + policy + `forward: {headers: [{name: "X Auth", claim: sub}]}}}`,
			path:   "spec.forward.headers[0].name",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: a header twice",
			object: authPolicy + `spec: {` + policy + `forward: {headers: [{name: X-Auth, claim: sub}, {name: X-Auth, claim: email}]}}}`,
			path:   "spec.forward.headers[1]",
			reason: "Duplicate value",
		},
		{
			name:   "AuthPolicy: an unknown way with the token",
			object: authPolicy + `spec: {` + policy + `forward: {token: Hide}}}`,
			path:   "spec.forward.token",
			reason: `Unsupported value: "Hide"`,
		},
		{
			name:   "AuthPolicy: a token source that is two",
			object: authPolicy + `spec: {` + policy + `tokenSources: [{header: X-Token, cookie: token}]}}`,
			path:   "spec.tokenSources[0]",
			reason: "must have at most 1 item",
		},
		{
			name:   "AuthPolicy: a token source that is none",
			object: authPolicy + `spec: {` + policy + `tokenSources: [{}]}}`,
			path:   "spec.tokenSources[0]",
			reason: "should have at least 1 properties",
		},
		{
			name:   "AuthPolicy: a cookie that is two",
			object: authPolicy + `spec: {` + policy + `tokenSources: [{cookie: "a;b"}]}}`,
			path:   "spec.tokenSources[0].cookie",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: an origin with a path",
			object: authPolicy + `spec: {` + policy + `cors: {allowOrigins: ["https://shop.example/"]}}}`,
			path:   "spec.cors.allowOrigins[0]",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: an origin with a wildcard",
			object: authPolicy + `spec: {` + policy + `cors: {allowOrigins: ["https://*.example"]}}}`,
			path:   "spec.cors.allowOrigins[0]",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: other origins, and none named",
			object: authPolicy + `spec: {` + policy + `cors: {allowCredentials: true}}}`,
			path:   "spec.cors.allowOrigins",
			reason: "Required value",
		},
		{
			name:   "AuthPolicy: preflights kept for days",
			object: authPolicy + `spec: {` + policy + `cors: {allowOrigins: ["*"], maxAge: 25h}}}`,
			path:   "spec.cors.maxAge",
			reason: "must be between 0s and 24h",
		},
		{
			name:   "AuthPolicy: a log of something else",
			object: authPolicy + `spec: {` + policy + `accessLog: Allowed}}`,
			path:   "spec.accessLog",
			reason: `Unsupported value: "Allowed"`,
		},
		{
			name:   "AuthPolicy: a collector with a password",
			object: authPolicy + `spec: {` + policy + `tracing: {endpoint: "http://user:pass@collector:4318"}}}`,
			path:   "spec.tracing.endpoint",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: more than all traces",
			object: authPolicy + `spec: {` + policy + `tracing: {endpoint: "http://collector:4318", samplingPercent: 101}}}`,
			path:   "spec.tracing.samplingPercent",
			reason: "less than or equal to 100",
		},
		{
			name:   "AuthPolicy: a session of an issuer whose tokens are not taken",
			object: authPolicy + `spec: {` + policy + `issuers: [{` + foreign + `keys: {signingKeyRef: {name: key}}}], session: {tokenIssuerRef: {name: issuer}}, forward: {headers: [{name: X-A, claim: sub}]}}}`,
			path:   "spec.session",
			reason: "session must name a TokenIssuer that issuers names as well",
		},
		{
			name:   "AuthPolicy: a session without issuers",
			object: authPolicy + `spec: {` + policy + `session: {tokenIssuerRef: {name: issuer}}}}`,
			path:   "spec.session",
			reason: "session must name a TokenIssuer that issuers names as well",
		},
		{
			name:   "AuthPolicy: a session at the root",
			object: authPolicy + `spec: {` + policy + `session: {tokenIssuerRef: {name: issuer}, pathPrefix: /}}}`,
			path:   "spec.session.pathPrefix",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: a sign-in page that is no path",
			object: authPolicy + `spec: {` + policy + `session: {tokenIssuerRef: {name: issuer}, serverRendered: {signInPath: "//evil.example"}}}}`,
			path:   "spec.session.serverRendered.signInPath",
			reason: "should match",
		},
		{
			name:   "AuthPolicy: pages without a sign-in page",
			object: authPolicy + `spec: {` + policy + `session: {tokenIssuerRef: {name: issuer}, serverRendered: {}}}}`,
			path:   "spec.session.serverRendered.signInPath",
			reason: "Required value",
		},
		{
			name:   "AuthPolicy: a name too long for what is named after it",
			object: strings.ReplaceAll(authPolicy, "wrong", longName) + `spec: {` + policy + `}}`,
			path:   "metadata: Invalid value",
			reason: "the name must be at most 52 characters",
		},
		{
			name:   "TokenIssuer: no issuer",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, accessToken: {audiences: [web]}}}`,
			path:   "spec.issuer",
			reason: "Required value",
		},
		{
			name:   "TokenIssuer: an issuer that is no URL",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: auth.example, accessToken: {audiences: [web]}}}`,
			path:   "spec.issuer",
			reason: "should match",
		},
		{
			name:   "TokenIssuer: an issuer with a trailing slash",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: "https://auth.example/", accessToken: {audiences: [web]}}}`,
			path:   "spec.issuer",
			reason: "should match",
		},
		{
			name:   "TokenIssuer: an issuer with a query",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: "https://auth.example?a=b", accessToken: {audiences: [web]}}}`,
			path:   "spec.issuer",
			reason: "should match",
		},
		{
			name:   "TokenIssuer: no signing key",
			object: tokens + `spec: {login: {usersSecretRef: {name: users}}, issuer: "https://auth.example", accessToken: {audiences: [web]}}}`,
			path:   "spec.signingKeyRef",
			reason: "Required value",
		},
		{
			name:   "TokenIssuer: nobody to sign in",
			object: tokens + `spec: {signingKeyRef: {name: key}, issuer: "https://auth.example", accessToken: {audiences: [web]}}}`,
			path:   "spec.login",
			reason: "Required value",
		},
		{
			name:   "TokenIssuer: no audiences",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: "https://auth.example", accessToken: {}}}`,
			path:   "spec.accessToken",
			reason: "Required value",
		},
		{
			name:   "TokenIssuer: two scopes in one",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: "https://auth.example", accessToken: {audiences: [web], scopes: [a, "b c"]}}}`,
			path:   "spec.accessToken.scopes[1]",
			reason: "should match",
		},
		{
			name:   "TokenIssuer: a scope twice",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: "https://auth.example", accessToken: {audiences: [web], scopes: [a, a]}}}`,
			path:   "spec.accessToken.scopes[1]",
			reason: "Duplicate value",
		},
		{
			name:   "TokenIssuer: access tokens for a day",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: "https://auth.example", accessToken: {audiences: [web], ttl: 24h}}}`,
			path:   "spec.accessToken.ttl",
			reason: "must be between 10s and 1h",
		},
		{
			name:   "TokenIssuer: access tokens for a moment",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: "https://auth.example", accessToken: {audiences: [web], ttl: 9s}}}`,
			path:   "spec.accessToken.ttl",
			reason: "must be between 10s and 1h",
		},
		{
			name:   "TokenIssuer: access tokens that outlive the session",
			object: tokens + `spec: {signingKeyRef: {name: key}, login: {usersSecretRef: {name: users}}, issuer: "https://auth.example", accessToken: {audiences: [web], ttl: 10m}, refreshToken: {idleLifetime: 10m}}}`,
			path:   "spec.accessToken.ttl",
			reason: "accessToken.ttl must be shorter than refreshToken.idleLifetime",
		},
		{
			name:   "TokenIssuer: idle longer than at all",
			object: tokens + `spec: {` + issuer + `refreshToken: {idleLifetime: 721h}}}`,
			path:   "spec.refreshToken.idleLifetime",
			reason: "idleLifetime must not be longer than absoluteLifetime",
		},
		{
			name:   "TokenIssuer: sessions without end",
			object: tokens + `spec: {` + issuer + `refreshToken: {absoluteLifetime: 8785h}}}`,
			path:   "spec.refreshToken.absoluteLifetime",
			reason: "must be at most 8784h",
		},
		{
			name:   "TokenIssuer: a long reuse window",
			object: tokens + `spec: {` + issuer + `refreshToken: {reuseWindow: 2m}}}`,
			path:   "spec.refreshToken.reuseWindow",
			reason: "must be between 0s and 1m",
		},
		{
			name:   "TokenIssuer: no sessions at all",
			object: tokens + `spec: {` + issuer + `sessions: {maxPerUser: 0}}}`,
			path:   "spec.sessions.maxPerUser",
			reason: "greater than or equal to 1",
		},
		{
			name:   "TokenIssuer: sessions without number",
			object: tokens + `spec: {` + issuer + `sessions: {maxPerUser: 101}}}`,
			path:   "spec.sessions.maxPerUser",
			reason: "less than or equal to 100",
		},
		{
			name:   "TokenIssuer: two stores",
			object: tokens + `spec: {` + issuer + `store: {sqlite: {}, redis: {urlSecretRef: {name: redis, key: url}}}}}`,
			path:   "spec.store",
			reason: "exactly one of the fields in [sqlite postgreSQL redis] must be set",
		},
		{
			name:   "TokenIssuer: no store",
			object: tokens + `spec: {` + issuer + `store: {}}}`,
			path:   "spec.store",
			reason: "exactly one of the fields in [sqlite postgreSQL redis] must be set",
		},
		{
			name:   "TokenIssuer: several replicas on a file",
			object: tokens + `spec: {` + issuer + `replicas: 2}}`,
			path:   "spec.replicas",
			reason: "more than one replica needs a store that they can share",
		},
		{
			name:   "TokenIssuer: no replica",
			object: tokens + `spec: {` + issuer + `replicas: 0}}`,
			path:   "spec.replicas",
			reason: "should be greater than or equal to 1",
		},
		{
			name:   "TokenIssuer: a URL in no key of the Secret",
			object: tokens + `spec: {` + issuer + `store: {postgreSQL: {dsnSecretRef: {name: database}}}}}`,
			path:   "spec.store.postgreSQL.dsnSecretRef.key",
			reason: "Required value",
		},
		{
			name:   "TokenIssuer: a database of nowhere",
			object: tokens + `spec: {` + issuer + `store: {postgreSQL: {}}}}`,
			path:   "spec.store.postgreSQL.dsnSecretRef",
			reason: "Required value",
		},
		{
			name:   "TokenIssuer: no size",
			object: tokens + `spec: {` + issuer + `store: {sqlite: {size: big}}}}`,
			path:   "spec.store.sqlite.size",
			reason: "should match",
		},
		{
			name:   "TokenIssuer: a negative size",
			object: tokens + `spec: {` + issuer + `store: {sqlite: {size: -1Gi}}}}`,
			path:   "spec.store.sqlite.size",
			reason: "must be more than nothing",
		},
		{
			name:   "TokenIssuer: a name too long for what is named after it",
			object: strings.ReplaceAll(tokens, "wrong", longName) + `spec: {` + issuer + `}}`,
			path:   "metadata: Invalid value",
			reason: "the name must be at most 52 characters",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var object unstructured.Unstructured
			if err := yaml.Unmarshal([]byte(c.object), &object.Object); err != nil {
				t.Fatal(err)
			}
			err := api.Create(t.Context(), &object, client.DryRunAll, client.FieldValidation("Strict"))
			if err == nil {
				t.Fatal("got no error, want a refusal")
			}
			if !strings.Contains(err.Error(), c.path) || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("got %v, want path %q and reason %q", err, c.path, c.reason)
			}
		})
	}
}
