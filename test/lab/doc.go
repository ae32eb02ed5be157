// Package lab is a cloud in miniature for end-to-end tests and the demo:
//
//	client -- router ("the cloud") -- bridge -- host1, host2
//
// Hosts run the real keepalived and the real berth, started from the unit file
// and the keepalived lines that the project ships. The router serves the
// simulated provider's API, and sends each floating IP to the server that the
// API says has it: a floating IP that moves at the API moves a route. The lab
// records events as they happen: addresses from netlink, requests from the
// simulator, packets by a client that asks every 10 ms.
//
// Waiting is by events with a deadline ([testnet.Rig.Wait]); nothing sleeps or polls.
package lab
