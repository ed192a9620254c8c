// Package tokenissuer runs a token service for each TokenIssuer: Deployment, Service, volume, configuration and serving certificate. It
// knows how the service is started and what it mounts, not what it does with sessions or keys.
package tokenissuer
