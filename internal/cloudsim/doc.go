// Package cloudsim simulates the APIs of the clouds that berth knows, and the
// metadata service that a server finds there: a whole HTTP server with state,
// faults and a history of every request, to be used unmodified clients against.
// They are cloudscale.ch (its API v1, as described at
// https://www.cloudscale.ch/en/api/v1 and by the vendor's Go SDK) and Exoscale (its
// API v2, as described at https://openapi-v2.exoscale.com), which has elastic IPs
// that several instances share, operations that take their time, and signatures.
//
// A Sim is an http.Handler. It can be served on a listener, asked in-process
// through RoundTripper (which works inside a testing/synctest bubble, as no
// socket is involved), or started by a person with Run, which is what the
// command "berth cloudsim" does.
//
// State comes first: servers, floating IPs and who has each. A move, whoever
// made it, runs the data plane (OnMove), by which a lab moves its routes. Faults
// come second: a list of knobs (Fault), each with a filter, a limit and, where
// chance is wanted, a seed that is logged. History comes third and is what
// tests assert on.
//
// Once a request was received it is carried out, whether its client waits for
// the answer or has gone away: clouds do the same.
//
// Paths served, all on one listener:
//
//	/v1/floating-ips[/KEY]   list, get, patch; KEY is the network's address without length
//	/v1/servers[/UUID]       list, get
//	/v2/zone, /v2/elastic-ip[/ID[:attach|:detach]], /v2/instance[/ID], /v2/operation/ID
//	                         Exoscale, for the zone of a host name such as
//	                         api-ch-gva-2.exoscale.com, else that of the first server
//	/latest/meta-data/NAME   Exoscale's metadata, as below
//	/openstack/VERSION/meta_data.json   metadata of the server that asks (by its
//	                         source address; loopback stands for the first server)
//	/_sim/                   control, for people and scripts: see control.go
//
// What it does not simulate: creating and deleting, tags (a filter by tag finds
// nothing), permissions finer than "right token or not", the real wording of
// error texts, and rate limits that count requests (plant a Fault instead).
// Nothing is kept when it ends. It refuses to listen off loopback by itself.
package cloudsim
