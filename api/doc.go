// Package api is the management API of a berth that runs as a service: the addresses that
// were added at run time (with the routes and the JSON of LinK's API), the pool, hand-overs,
// the view of the cluster as JSON, as server-sent events and as a page, and what programs
// that watch berth ask for. It is also the client of that API.
//
// It decides nothing about addresses: what a request asks for is done by an ips.Service, a
// pool.Client and an election. openapi.json describes each route; docs/api.md is for people.
//
// The package refuses what nobody should send: a request without the credentials, from a
// page of another site, for a name that is not one of this server (DNS rebinding), one that
// is too large or too slow. docs/security.md says what remains.
package api
