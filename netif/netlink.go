package netif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// answerTime bounds the wait for an answer, which the kernel has given by the time
	// that the request is written.
	answerTime = 2 * time.Second
	// batch is how many requests are written at once. Their answers fit into the
	// default receive buffer.
	batch = 100
	// eventBuffer holds the events of some ten thousand addresses, in bytes.
	eventBuffer = 8 << 20
)

// netlinkSocket opens a socket as a file, so that deadlines end a blocked read.
func netlinkSocket(groups ...int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("open netlink socket", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	// Older kernels refuse the option; the answers are filtered here, too.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if len(groups) > 0 {
		// Without the privilege the kernel refuses; then fewer events fit.
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

// execute sends requests in batches and returns the answer to each.
func (k *linux) execute(requests []*nl.NetlinkRequest) []error {
	answers := make([]error, len(requests))
	for from := 0; from < len(requests); from += batch {
		part := requests[from:min(from+batch, len(requests))]
		k.executeBatch(part, answers[from:])
	}
	return answers
}

// executeBatch asks for an acknowledgement of the last request alone: the kernel serves
// them in order, and reports the errors of the others without being asked (netlink(7)).
func (k *linux) executeBatch(requests []*nl.NetlinkRequest, answers []error) {
	var b []byte
	index := make(map[uint32]int, len(requests))
	last := requests[len(requests)-1]
	for n, r := range requests {
		index[r.Seq] = n
		if r.Flags &^= unix.NLM_F_ACK; r == last {
			r.Flags |= unix.NLM_F_ACK
		}
		b = append(b, r.Serialize()...)
	}
	_, err := k.requests.Write(b)
	for end := false; !end && err == nil; {
		err = k.read(func(m message) {
			n, ours := index[m.seq]
			if !ours || m.kind != unix.NLMSG_ERROR {
				return
			}
			answers[n] = m.err()
			end = end || m.seq == last.Seq
		})
	}
	for n := range requests {
		if err != nil && answers[n] == nil {
			answers[n] = fmt.Errorf("the kernel did not answer: %w", err)
		}
	}
}

// errInterrupted says that a list may be incomplete (NLM_F_DUMP_INTR).
var errInterrupted = errors.New("the list changed while it was read")

// exchange sends a request and calls f with each part of the answer.
func (k *linux) exchange(r *nl.NetlinkRequest, f func(message)) error {
	if r.Flags&unix.NLM_F_DUMP == 0 {
		r.Flags |= unix.NLM_F_ACK // a mark of the end
	}
	if _, err := k.requests.Write(r.Serialize()); err != nil {
		return err
	}
	var interrupted error
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
				interrupted = errInterrupted
			}
		})
		if err := errors.Join(err, answer); err != nil {
			return err
		}
	}
	return interrupted
}

// read reads the messages that one call of read(2) returns.
func (k *linux) read(f func(message)) error {
	if err := k.requests.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	return readMessages(k.requests, k.buffer, f)
}

// message is one of netlink.
type message struct {
	kind, flags uint16
	seq, port   uint32 // of the request that has caused the message; 0 where the kernel acted by itself
	body        []byte
}

// err returns the error in an answer of the kernel.
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
			seq: binary.NativeEndian.Uint32(b[8:]), port: binary.NativeEndian.Uint32(b[12:]), body: b[unix.SizeofNlMsghdr:length]})
		b = b[min((length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
	return nil
}

// attributes yields the attributes of a message (rtnetlink(7)).
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			length := int(binary.NativeEndian.Uint16(b))
			if length < unix.SizeofRtAttr || length > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:length]) {
				return
			}
			b = b[min((length+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b)):]
		}
	}
}
