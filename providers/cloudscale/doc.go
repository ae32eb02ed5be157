// Package cloudscale points floating IPs of cloudscale.ch at this host. It relies on
// the vendor's API description (https://www.cloudscale.ch/en/api/v1):
//
// A floating IP is a network, /32 for IPv4 and /128 or /56 for IPv6, keyed by its
// address alone. One PATCH moves it from any holder, at once and as a whole;
// it cannot be made to point nowhere, so there is nothing to release. All
// floating IPs of an account come in one list.
//
// The vendor's SDK makes the requests. Not used are the endpoint from the
// environment, redirects, the SDK's errors, which lose the status when the body is not
// as expected, its metadata client, and its reading of floating IPs, which panics on a
// network without a length.
package cloudscale
