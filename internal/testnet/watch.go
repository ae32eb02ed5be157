package testnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An AddressEvent tells that an address came to a link or left it.
type AddressEvent struct {
	Time    time.Time
	Node    *Node
	Address netip.Prefix
	Added   bool
	// Lost tells that events before this one were lost because they were not read in
	// time. Only the time is set then.
	Lost bool
}

// Observe makes WatchAddresses of n report the events of another node as well.
func (n *Node) Observe(other *Node) error {
	// The kernel gives an id by itself when a cable joins the two.
	id, err := n.nl.GetNetNsIdByFd(other.netns())
	if err == nil && id < 0 {
		if err = n.nl.SetNetNsIdByFd(other.netns(), -1); err == nil {
			id, err = n.nl.GetNetNsIdByFd(other.netns())
		}
	}
	if err != nil {
		return fmt.Errorf("observe %s from %s: %w", other.Name, n.Name, err)
	}
	n.observing.Lock()
	defer n.observing.Unlock()
	if n.observed == nil {
		n.observed = make(map[int]*Node)
	}
	n.observed[id] = other
	return nil
}

// WatchAddresses calls f for every change of addresses from now on, in n and in
// the nodes it observes, and rings the bell after each. Repeats, which the
// kernel sends when flags or lifetimes change, are left out.
//
// All nodes' events are one sequence, in the order in which the kernel made
// them: when an address leaves one node before it comes to another, the events have
// that order, however late they are read. No two have the same time.
func (n *Node) WatchAddresses(f func(AddressEvent)) error {
	var fd int
	if err := n.Do(func() (err error) {
		fd, err = addressSocket()
		return err
	}); err != nil {
		return fmt.Errorf("watch addresses of %s: %w", n.Name, err)
	}
	socket := os.NewFile(uintptr(fd), "netlink")
	stop := make(chan struct{})
	n.mu.Lock()
	n.watches = append(n.watches, stop)
	n.mu.Unlock()
	n.readers.Go(func() {
		<-stop
		socket.Close()
	})
	n.readers.Go(func() { n.readAddresses(socket, f) })
	return nil
}

// listenAllNSID is NETLINK_LISTEN_ALL_NSID, as an option and as the type of the
// control message that tells where a message comes from (netlink(7)).
const listenAllNSID = 8

func addressSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	// Only the machine's root may set the option; lost events are reported anyway.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, listenAllNSID, 1),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR}),
	)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (n *Node) readAddresses(socket *os.File, f func(AddressEvent)) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return // closed
	}
	type binding struct {
		node    *Node
		link    int
		address netip.Prefix
	}
	present := make(map[binding]bool)
	var last time.Time
	tell := func(e AddressEvent) {
		if e.Time = time.Now(); !e.Time.After(last) {
			e.Time = last.Add(1)
		}
		last = e.Time
		f(e)
		n.bell.Ring()
	}
	buffer, control := make([]byte, 64<<10), make([]byte, 256)
	for {
		var size, controlSize int
		var failed error
		if err := raw.Read(func(fd uintptr) bool {
			size, controlSize, _, _, failed = unix.Recvmsg(int(fd), buffer, control, 0)
			return !errors.Is(failed, unix.EAGAIN)
		}); err != nil {
			return // closed
		}
		if failed != nil {
			if errors.Is(failed, unix.ENOBUFS) {
				tell(AddressEvent{Lost: true})
			}
			continue
		}
		from := n.sender(control[:controlSize])
		if from == nil {
			continue
		}
		for _, change := range parseAddresses(buffer[:size]) {
			b := binding{from, change.link, change.address}
			if change.added && present[b] {
				continue
			}
			present[b] = change.added
			tell(AddressEvent{Node: from, Address: change.address, Added: change.added})
		}
	}
}

// sender returns the node that a message comes from, nil if it is not observed.
func (n *Node) sender(control []byte) *Node {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_NETLINK && m.Header.Type == listenAllNSID && len(m.Data) >= 4 {
			n.observing.Lock()
			defer n.observing.Unlock()
			return n.observed[int(int32(binary.NativeEndian.Uint32(m.Data)))]
		}
	}
	return n
}

type addressChange struct {
	link    int
	address netip.Prefix
	added   bool
}

func parseAddresses(datagram []byte) (changes []addressChange) {
	messages, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWADDR && m.Header.Type != unix.RTM_DELADDR {
			continue
		}
		head := nl.DeserializeIfAddrmsg(m.Data)
		attributes, err := nl.ParseRouteAttr(m.Data[head.Len():])
		if err != nil {
			continue
		}
		var address netip.Addr
		for _, a := range attributes {
			// Where both are, IFA_ADDRESS is that of the peer (rtnetlink(7)).
			if a.Attr.Type == unix.IFA_LOCAL || a.Attr.Type == unix.IFA_ADDRESS && !address.IsValid() {
				address, _ = netip.AddrFromSlice(a.Value)
			}
		}
		changes = append(changes, addressChange{int(head.Index), netip.PrefixFrom(address, int(head.Prefixlen)), m.Header.Type == unix.RTM_NEWADDR})
	}
	return changes
}
