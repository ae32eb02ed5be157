// Package exoscale points elastic IPs of Exoscale at this host. What it relies on
// is the vendor's API description (https://openapi-v2.exoscale.com) and the
// behaviour of the vendor's own command line:
//
// An elastic IP belongs to a zone, is an address (IPv4) or a /96 (IPv6), and can be
// attached to any number of instances at once; traffic is then spread over them,
// to a dead one as well. Taking over hence means attaching this host first, so
// that nobody is left without, and then detaching every other. Both are
// operations that take their time and can fail after they were accepted.
//
// The elastic IP does not tell who has it. The record of an instance does, and the
// list of instances can be filtered by address. The filter only proposes: nobody
// is detached whose own record does not have the elastic IP. Where the filter
// cannot be right (it does not show this host, or shows far too many), an audit
// reads the records of all instances, once for all addresses, in the background.
//
// The vendor's SDK signs the requests. Around it are closed: its hidden retries,
// its slow wait for operations, the loss of status and words of an error, and its
// metadata client.
package exoscale
