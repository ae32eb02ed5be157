// Package netif binds addresses to an interface of this host, keeps them there
// and announces them to the neighbours, for as long as its caller is entitled to them.
//
// An address never outlives the entitlement. It is bound with a lifetime in the
// kernel (valid_lft of ip-address(8)) that ends before [Options.End] and is
// renewed as that moves on, so that the kernel itself removes the address of a
// process that is killed, frozen or swapping. At the end the package also deletes the
// address. lifetime.go tells how late the kernel may be.
//
// The package refuses to touch an address that is neither managed ([Options.Managed] and
// [Interface.Manage]) nor in its own record of an earlier run, and to bind an address that would be removed within
// a second. It does not decide which host is entitled: when a neighbour claims an
// address, that is reported and the address is defended, not given up.
//
// Addresses are bound by netlink (rtnetlink(7)) and marked by IFA_PROTO. They are
// announced by gratuitous ARP (RFC 826, RFC 5227 section 3) as request and as reply,
// because hosts differ in which of the two they honour, and by unsolicited neighbour
// advertisements (RFC 4861, section 7.2.6). The number of defences in a dispute
// over an address is bounded in the manner of RFC 5227, section 2.4.
//
// The package needs CAP_NET_ADMIN and CAP_NET_RAW (capabilities(7)).
package netif
