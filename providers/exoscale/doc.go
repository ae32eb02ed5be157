// Package exoscale points elastic IPs of Exoscale at this host. It relies on the
// vendor's API description (https://openapi-v2.exoscale.com) and on the behaviour of
// the vendor's own command line:
//
// An elastic IP belongs to a zone, is an address (IPv4) or a /96 (IPv6), and can be
// attached to any number of instances at once; traffic is then spread over them, also
// to a dead one. Taking over hence means attaching this host first, so that the
// elastic IP is always attached to an instance, and then detaching every other. Both
// are operations that take their time and can fail after they were accepted.
//
// The elastic IP does not tell which instances have it. The record of an instance
// does, and the list of instances can be filtered by address. The filter only
// proposes: an instance is detached only if its own record has the elastic IP. Where
// the filter cannot be right (it does not show this host, or shows far too many
// instances), an audit reads the records of all instances, once for all addresses, in
// the background.
//
// The vendor's SDK signs the requests. Not used are its hidden retries, its slow wait
// for operations, its errors, which lose status and text, and its metadata client.
package exoscale
