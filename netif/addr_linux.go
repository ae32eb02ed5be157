package netif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	ifaProto = 11 // IFA_PROTO of linux/if_addr.h
	// answerTime bounds the wait for what the kernel has answered by the time that a
	// request is written.
	answerTime = 2 * time.Second
	// batch is how many requests are written at once. Their answers fit into the
	// default receive buffer.
	batch = 100
	// eventBuffer holds the events of some thousand addresses.
	eventBuffer = 1 << 20
)

// promotes returns an error if the address would take others of its subnet along
// when it goes (promote_secondaries of the kernel's ip-sysctl.rst). IPv6 has no
// secondary addresses.
func promotes(name string, p netip.Prefix) error {
	if !p.Addr().Is4() || p.IsSingleIP() {
		return nil
	}
	const dir = "/proc/sys/net/ipv4/conf"
	for _, conf := range []string{"all", name} {
		value, err := os.ReadFile(filepath.Join(dir, conf, "promote_secondaries"))
		if err == nil && strings.TrimSpace(string(value)) != "0" {
			return nil
		}
	}
	return fmt.Errorf("bind %v to %s: when it goes, other addresses of its subnet would go with it; write %v/32, or run: echo 1 >%s/%s/promote_secondaries",
		p, name, p.Addr(), dir, name)
}

// linux is the kernel of this system. Its sockets stay in the network namespace
// in which it was opened.
type linux struct {
	name     string
	requests *os.File
	events   *os.File
	wire     *wire
	index    atomic.Int64 // of the interface, as last seen
}

func openKernel(name string) (kernel, error) {
	k := &linux{name: name}
	if err := k.open(); err != nil {
		return nil, errors.Join(cure(err), k.Close())
	}
	return k, nil
}

func (k *linux) open() (err error) {
	if k.requests, err = netlinkSocket(); err != nil {
		return err
	}
	if k.events, err = netlinkSocket(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR); err != nil {
		return err
	}
	// The kernel looks at the privilege first, and then finds no such interface.
	del := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
	del.AddData(&nl.IfAddrmsg{IfAddrmsg: unix.IfAddrmsg{Family: unix.AF_INET, Index: math.MaxInt32}})
	if err := k.ask([]*nl.NetlinkRequest{del})[0]; errors.Is(err, unix.EPERM) {
		return fmt.Errorf("change addresses: %w", err)
	}
	l, err := k.link()
	if err != nil {
		return fmt.Errorf("find it: %w", err)
	}
	if l.index == 0 {
		return errors.New("it does not exist; see: ip link")
	}
	k.wire, err = openWire(l.index)
	return err
}

// cure adds what helps to an error of privilege.
func cure(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: needs CAP_NET_ADMIN and CAP_NET_RAW, as root has them, or as a service with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW", err)
	}
	return err
}

func (k *linux) Close() error {
	var err error
	for _, f := range []*os.File{k.requests, k.events} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if k.wire != nil {
		err = errors.Join(err, k.wire.close())
	}
	return err
}

// netlinkSocket opens a socket as a file, so that deadlines end a blocked read.
func netlinkSocket(groups ...int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("open netlink socket", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	// Older kernels ignore what they do not know; the answers are filtered anyway.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if len(groups) > 0 {
		// Refused without privilege; then less of a burst fits.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer)
	}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	for _, g := range groups {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("bind netlink socket", err), f.Close())
	}
	return f, nil
}

func (k *linux) state() (link, []address, error) {
	l, err := k.link()
	if err != nil {
		return link{}, nil, fmt.Errorf("find interface: %w", err)
	}
	k.index.Store(int64(l.index))
	if l.index == 0 {
		return l, nil, nil
	}
	if err := k.wire.attach(l.index); err != nil {
		return link{}, nil, fmt.Errorf("listen: %w", err)
	}
	addrs, err := k.addresses(l.index)
	return l, addrs, err
}

func (k *linux) link() (l link, err error) {
	get := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	get.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	get.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(k.name)))
	err = k.exchange(get, func(m message) {
		if m.kind == unix.RTM_NEWLINK {
			l, _, _ = parseLink(m.body)
		}
	})
	if errors.Is(err, unix.ENODEV) {
		return link{}, nil
	}
	return l, err
}

// addresses lists those of the interface, again while the kernel says that its
// list has holes.
func (k *linux) addresses(index int) (list []address, err error) {
	for range attempts {
		list = nil
		get := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		get.AddData(&nl.IfAddrmsg{IfAddrmsg: unix.IfAddrmsg{Family: unix.AF_UNSPEC, Index: uint32(index)}})
		err = k.exchange(get, func(m message) {
			if a, on, ok := parseAddress(m.body); m.kind == unix.RTM_NEWADDR && ok && on == index {
				list = append(list, a)
			}
		})
		if !errors.Is(err, errHoles) {
			break
		}
	}
	return list, err
}

func (k *linux) bind(addrs []netip.Prefix, seconds int) error {
	var requests []*nl.NetlinkRequest
	for _, p := range addrs {
		add := k.request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, p)
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
	var errs []error
	for n, err := range k.ask(requests) {
		if errors.Is(err, unix.EACCES) && addrs[n].Addr().Is6() {
			err = fmt.Errorf("%w: IPv6 is off; run: echo 0 >/proc/sys/net/ipv6/conf/%s/disable_ipv6", err, k.name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("bind %v to %s: %w", addrs[n], k.name, cure(err)))
		}
	}
	return errors.Join(errs...)
}

func (k *linux) unbind(addrs []netip.Prefix) error {
	var exact, again []*nl.NetlinkRequest
	for _, p := range addrs {
		exact = append(exact, k.request(unix.RTM_DELADDR, 0, p))
	}
	var errs []error
	for n, err := range k.ask(exact) {
		switch p := addrs[n]; {
		case errors.Is(err, unix.EADDRNOTAVAIL) && p.Addr().Is4():
			// Without a prefix IPv4 deletes the address of a point-to-point link too.
			del := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
			del.AddData(&nl.IfAddrmsg{IfAddrmsg: unix.IfAddrmsg{Family: unix.AF_INET, Index: uint32(k.index.Load())}})
			del.AddData(nl.NewRtAttr(unix.IFA_LOCAL, p.Addr().AsSlice()))
			again = append(again, del)
		case !gone(err):
			errs = append(errs, fmt.Errorf("unbind %v from %s: %w", p, k.name, cure(err)))
		}
	}
	for _, err := range k.ask(again) {
		if !gone(err) {
			errs = append(errs, fmt.Errorf("unbind from %s: %w", k.name, cure(err)))
		}
	}
	return errors.Join(errs...)
}

func gone(err error) bool {
	return err == nil || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV)
}

func (k *linux) request(kind, flags int, p netip.Prefix) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	family := uint8(unix.AF_INET)
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	r.AddData(&nl.IfAddrmsg{IfAddrmsg: unix.IfAddrmsg{Family: family, Prefixlen: uint8(p.Bits()), Index: uint32(k.index.Load())}})
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, p.Addr().AsSlice()))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, p.Addr().AsSlice()))
	return r
}

// ask sends requests in batches and returns the answer to each.
func (k *linux) ask(requests []*nl.NetlinkRequest) []error {
	answers := make([]error, len(requests))
	for from := 0; from < len(requests); from += batch {
		part := requests[from:min(from+batch, len(requests))]
		k.askBatch(part, answers[from:])
	}
	return answers
}

func (k *linux) askBatch(requests []*nl.NetlinkRequest, answers []error) {
	var b []byte
	index := make(map[uint32]int, len(requests))
	for n, r := range requests {
		index[r.Seq] = n
		answers[n] = errors.New("the kernel did not answer")
		b = append(b, r.Serialize()...)
	}
	_, err := k.requests.Write(b)
	for len(index) > 0 && err == nil {
		err = k.read(func(m message) {
			if n, ours := index[m.seq]; ours && m.kind == unix.NLMSG_ERROR {
				answers[n] = m.err()
				delete(index, m.seq)
			}
		})
	}
	if err != nil {
		for _, n := range index {
			answers[n] = err
		}
	}
}

var errHoles = errors.New("the list changed while it was read")

// exchange sends a request and calls f with each part of the answer.
func (k *linux) exchange(r *nl.NetlinkRequest, f func(message)) error {
	if r.Flags&unix.NLM_F_DUMP == 0 {
		r.Flags |= unix.NLM_F_ACK // a mark of the end
	}
	if _, err := k.requests.Write(r.Serialize()); err != nil {
		return err
	}
	var holes error
	for end := false; !end; {
		var answer error
		err := k.read(func(m message) {
			switch {
			case m.seq != r.Seq:
			case m.kind == unix.NLMSG_ERROR || m.kind == unix.NLMSG_DONE:
				end, answer = true, m.err()
			default:
				f(m)
			}
			if m.seq == r.Seq && m.flags&unix.NLM_F_DUMP_INTR != 0 {
				holes = errHoles
			}
		})
		if err := errors.Join(err, answer); err != nil {
			return err
		}
	}
	return holes
}

// read reads what one call gives of answers.
func (k *linux) read(f func(message)) error {
	if err := k.requests.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	return readMessages(k.requests, make([]byte, 1<<16), f)
}

// message is one of netlink.
type message struct {
	kind, flags uint16
	seq         uint32
	body        []byte
}

// err returns what the kernel answered.
func (m message) err() error {
	if len(m.body) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(m.body)); n < 0 {
		return unix.Errno(-n)
	}
	return nil
}

func readMessages(from *os.File, buffer []byte, f func(message)) error {
	n, err := from.Read(buffer)
	if err != nil {
		return err
	}
	for b := buffer[:n]; len(b) >= unix.SizeofNlMsghdr; {
		length := int(binary.NativeEndian.Uint32(b))
		if length < unix.SizeofNlMsghdr || length > len(b) {
			return fmt.Errorf("read netlink: message of %d bytes in %d", length, len(b))
		}
		f(message{kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]),
			seq: binary.NativeEndian.Uint32(b[8:]), body: b[unix.SizeofNlMsghdr:length]})
		b = b[min((length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
	return nil
}

// parseLink returns the state and the name of an interface. Bridges tell of their
// ports by messages of the same type, which are not about the interface itself.
func parseLink(b []byte) (l link, name string, ok bool) {
	if len(b) < unix.SizeofIfInfomsg {
		return l, "", false
	}
	info := nl.DeserializeIfInfomsg(b)
	attrs, err := nl.ParseRouteAttrAsMap(b[unix.SizeofIfInfomsg:])
	if err != nil || info.Family != unix.AF_UNSPEC {
		return l, "", false
	}
	l = link{index: int(info.Index), up: info.Flags&unix.IFF_UP != 0, carrier: info.Flags&unix.IFF_LOWER_UP != 0}
	if mac := attrs[unix.IFLA_ADDRESS].Value; info.Type == unix.ARPHRD_ETHER && info.Flags&unix.IFF_NOARP == 0 && len(mac) == 6 {
		l.mac = slices.Clone(mac)
	}
	return l, nl.BytesToString(attrs[unix.IFLA_IFNAME].Value), true
}

// parseAddress returns an address and the index of its interface.
func parseAddress(b []byte) (a address, index int, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return a, 0, false
	}
	info := nl.DeserializeIfAddrmsg(b)
	attrs, err := nl.ParseRouteAttrAsMap(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return a, 0, false
	}
	// The local one, where the other is that of a point-to-point peer.
	local, found := attrs[unix.IFA_LOCAL]
	if !found {
		local = attrs[unix.IFA_ADDRESS]
	}
	ip, ok := netip.AddrFromSlice(local.Value)
	a = address{prefix: netip.PrefixFrom(ip, int(info.Prefixlen)), valid: forever, duplicate: info.Flags&unix.IFA_F_DADFAILED != 0}
	if v := attrs[unix.IFA_CACHEINFO].Value; len(v) >= unix.SizeofIfaCacheinfo {
		if c := nl.DeserializeIfaCacheInfo(v); c.Valid != math.MaxUint32 {
			a.valid = time.Duration(c.Valid) * time.Second
		}
	}
	if v := attrs[ifaProto].Value; len(v) == 1 {
		a.proto = v[0]
	}
	return a, int(info.Index), ok && a.prefix.IsValid()
}

func (k *linux) send(frame []byte) error { return k.wire.send(frame) }

func (k *linux) watch(ctx context.Context, f func(event)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wg.Go(func() { k.wire.watch(ctx, f) })
	// A past deadline is how a blocked read is told that the context ended.
	defer context.AfterFunc(ctx, func() { k.events.SetReadDeadline(time.Unix(1, 0)) })()
	for buffer := make([]byte, 1<<16); ; {
		err := readMessages(k.events, buffer, func(m message) { k.report(m, f) })
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, unix.ENOBUFS): // netlink(7)
			f(event{kind: missed})
		case errors.Is(err, os.ErrDeadlineExceeded): // left by an earlier watch
			k.events.SetReadDeadline(time.Time{})
		case err != nil:
			return fmt.Errorf("watch interface %s: %w", k.name, err)
		}
	}
}

// report calls f with what a message says of this interface.
func (k *linux) report(m message, f func(event)) {
	switch m.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, name, ok := parseLink(m.body)
		switch ours := l.index == int(k.index.Load()); {
		case !ok || name != k.name && !ours:
		case name != k.name || m.kind == unix.RTM_DELLINK: // renamed, or gone
			f(event{kind: linkChanged})
		default:
			f(event{kind: linkChanged, link: l})
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a, index, ok := parseAddress(m.body)
		if !ok || index != int(k.index.Load()) {
			return
		}
		kind := added
		if m.kind == unix.RTM_DELADDR {
			kind = deleted
		}
		f(event{kind: kind, address: a})
	}
}
