// Package netif binds addresses to an interface of this host, keeps them there
// and makes the neighbours know, for as long as its caller is entitled to them.
//
// An address never outlives the entitlement. It is bound with a lifetime in the
// kernel (valid_lft of ip-address(8)) that ends before [Options.End] and is
// renewed as that moves on, so that the kernel itself takes the address away from
// a process that is killed, frozen or swapping. Past the end it is also deleted
// by hand. See lifetime.go for how late the kernel may be.
//
// What it refuses to do: it never touches an address that is not in
// [Options.Managed] or in its own record of an earlier run; it does not bind what
// would be gone within a second; and it does not decide who is entitled: a
// neighbour that claims the address is reported and answered, not obeyed.
//
// Bound by netlink (rtnetlink(7)) and marked by IFA_PROTO. Announced by
// gratuitous ARP (RFC 826, RFC 5227 section 3) as request and as reply, because
// hosts differ in which one they honour, and by unsolicited neighbour
// advertisements (RFC 4861, section 7.2.6). Fights are bounded in the manner of
// RFC 5227, section 2.4.
//
// It needs CAP_NET_ADMIN and CAP_NET_RAW (capabilities(7)).
package netif
