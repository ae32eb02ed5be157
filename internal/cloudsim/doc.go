// Package cloudsim simulates the APIs of the clouds that berth knows, and the
// metadata services of their servers: a whole HTTP server with state, faults and a
// history of every request, for use with unmodified clients. The clouds are
// cloudscale.ch (its API v1, as described at
// https://www.cloudscale.ch/en/api/v1 and by the vendor's Go SDK) and Exoscale (its
// API v2, as described at https://openapi-v2.exoscale.com), which has elastic IPs
// that several instances share, asynchronous operations, and signed requests, and
// Hetzner Cloud.
//
// A Sim is an http.Handler. It can be served on a listener, asked in-process
// through RoundTripper (which works inside a testing/synctest bubble, as no
// socket is involved), or started by a person with Run, which is what the
// command "berth cloudsim" does.
//
// State comes first: servers, floating IPs and the holder of each. A move by any
// client runs the data plane (OnMove), by which a lab moves its routes. Faults come
// second: a list of knobs (Fault), each with a filter, a limit and, for a fault by
// chance, a seed that is logged. History comes third; tests assert on it and on the
// state.
//
// A request that was received is carried out, whether its client waits for the
// answer or has gone away: clouds do the same.
//
// Paths served, all on one listener:
//
//	/v1/floating-ips[/KEY]   list, get, patch; KEY is the network's address without length
//	/v1/servers[/UUID]       list, get
//	/v2/zone, /v2/elastic-ip[/ID[:attach|:detach]], /v2/instance[/ID], /v2/operation/ID,
//	/v2/security-group, /v2/private-network/ID
//	                         Exoscale, for the zone of a host name such as
//	                         api-ch-gva-2.exoscale.com, else that of the first server
//	/latest/meta-data/NAME   Exoscale's metadata, as below
//	/hetzner/api/floating_ips[/ID/actions/assign|unassign], /hetzner/api/servers/ID, /hetzner/api/actions/ID
//	                         Hetzner Cloud
//	/hetzner/v1/metadata/instance-id   Hetzner's metadata, as below
//	/openstack/VERSION/meta_data.json   metadata of the server that asks (by its
//	                         source address; loopback stands for the first server)
//	/_sim/                   control, for people and scripts: see control.go
//
// The simulator does not simulate creating and deleting, tags (a filter by tag finds
// nothing), permissions finer than "right token or not", the real wording of
// error texts, and rate limits that count requests (set a Fault instead). It stores
// nothing when it ends, and Run refuses to listen on an address that is not loopback.
package cloudsim
