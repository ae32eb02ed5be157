package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const ifaProto = 11 // IFA_PROTO of linux/if_addr.h

func (k *linux) bind(l link, addrs []netip.Prefix, seconds int) []error {
	var requests []*nl.NetlinkRequest
	for _, p := range addrs {
		add := addressRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, l.index, p)
		add.AddData(nl.NewRtAttr(ifaProto, nl.Uint8Attr(protocol)))
		flags := uint32(0)
		if p.Addr().Is6() {
			flags = unix.IFA_F_NODAD
		}
		add.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(flags)))
		life := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Prefered: uint32(seconds), Valid: uint32(seconds)}}
		add.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, life.Serialize()))
		requests = append(requests, add)
	}
	answers := k.execute(requests)
	for n, err := range answers {
		if errors.Is(err, unix.EACCES) && addrs[n].Addr().Is6() {
			err = fmt.Errorf("%w: IPv6 is off; run: echo 0 >/proc/sys/net/ipv6/conf/%s/disable_ipv6", err, l.name)
		}
		answers[n] = cure(err)
	}
	return answers
}

func (k *linux) unbind(index int, addrs []netip.Prefix) error {
	if index == 0 {
		return nil // the kernel has removed the addresses with their interface
	}
	var exact, again []*nl.NetlinkRequest
	for _, p := range addrs {
		exact = append(exact, addressRequest(unix.RTM_DELADDR, 0, index, p))
	}
	var errs []error
	for n, err := range k.execute(exact) {
		switch p := addrs[n]; {
		case errors.Is(err, unix.EADDRNOTAVAIL) && p.Addr().Is4():
			// Without IFA_ADDRESS the kernel deletes the address with any prefix length, and
			// that of a point-to-point link.
			del := deletionIPv4(index)
			del.AddData(nl.NewRtAttr(unix.IFA_LOCAL, p.Addr().AsSlice()))
			again = append(again, del)
		case !gone(err):
			errs = append(errs, fmt.Errorf("unbind %v: %w", p, cure(err)))
		}
	}
	for _, err := range k.execute(again) {
		if !gone(err) {
			errs = append(errs, fmt.Errorf("unbind: %w", cure(err)))
		}
	}
	return errors.Join(errs...)
}

// gone reports whether the error of a removal says that the address is not there.
func gone(err error) bool {
	return err == nil || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV)
}

// deletionIPv4 returns a request to delete an address, which has to be added.
func deletionIPv4(index int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
	r.AddData(&nl.IfAddrmsg{IfAddrmsg: unix.IfAddrmsg{Family: unix.AF_INET, Index: uint32(index)}})
	return r
}

func addressRequest(kind, flags, index int, p netip.Prefix) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	family := uint8(unix.AF_INET)
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	r.AddData(&nl.IfAddrmsg{IfAddrmsg: unix.IfAddrmsg{Family: family, Prefixlen: uint8(p.Bits()), Index: uint32(index)}})
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, p.Addr().AsSlice()))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, p.Addr().AsSlice()))
	return r
}

// parseLink returns the state of an interface. Bridges send messages of the same type
// about their ports; these have another family.
func parseLink(b []byte) (l link, ok bool) {
	if len(b) < unix.SizeofIfInfomsg {
		return l, false
	}
	info := nl.DeserializeIfInfomsg(b)
	if info.Family != unix.AF_UNSPEC {
		return l, false
	}
	l = link{index: int(info.Index), up: info.Flags&unix.IFF_UP != 0, carrier: info.Flags&unix.IFF_LOWER_UP != 0}
	for kind, value := range attributes(b[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.name = nl.BytesToString(value)
		case unix.IFLA_ADDRESS:
			if info.Type == unix.ARPHRD_ETHER && info.Flags&unix.IFF_NOARP == 0 && len(value) == 6 {
				l.mac = slices.Clone(value)
			}
		}
	}
	return l, true
}

func parseAddress(b []byte) (a address, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return a, false
	}
	info := nl.DeserializeIfAddrmsg(b)
	a = address{on: int(info.Index), valid: forever, duplicate: info.Flags&unix.IFA_F_DADFAILED != 0}
	var local, either netip.Addr // either is the address of the peer on a point-to-point link
	for kind, value := range attributes(b[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			either, _ = netip.AddrFromSlice(value)
		case unix.IFA_CACHEINFO:
			if len(value) < unix.SizeofIfaCacheinfo {
				continue
			}
			if valid := binary.NativeEndian.Uint32(value[4:]); valid != math.MaxUint32 {
				a.valid = time.Duration(valid) * time.Second
			}
		case ifaProto:
			if len(value) == 1 {
				a.proto = value[0]
			}
		}
	}
	if !local.IsValid() {
		local = either
	}
	a.prefix = netip.PrefixFrom(local, int(info.Prefixlen))
	return a, a.prefix.IsValid()
}
