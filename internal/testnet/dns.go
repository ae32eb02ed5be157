package testnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// A NameServer answers for some names on a node, or swallows the questions.
type NameServer struct {
	conn    *net.UDPConn
	serving sync.WaitGroup

	mu    sync.Mutex
	mute  bool
	hosts map[string][]netip.Addr
}

// ServeNames starts a name server (RFC 1035, over UDP) at an address of the node,
// port 53. It knows no other names than hosts. Close must be called before the
// node's.
func (n *Node) ServeNames(at netip.Addr, hosts map[string][]netip.Addr) (*NameServer, error) {
	s := &NameServer{hosts: hosts}
	if err := n.Do(func() (err error) {
		s.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 53)))
		return err
	}); err != nil {
		return nil, fmt.Errorf("serve names on %s: %w", n.Name, err)
	}
	s.serving.Go(s.serve)
	return s, nil
}

// SetMute makes the server swallow all questions, or answer again.
func (s *NameServer) SetMute(mute bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = mute
}

// Close ends the server.
func (s *NameServer) Close() error {
	err := s.conn.Close()
	s.serving.Wait()
	return err
}

func (s *NameServer) serve() {
	for packet := make([]byte, 1500); ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(packet)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error for an answer to a process that has ended
		}
		if answer := s.answer(packet[:n]); answer != nil {
			s.conn.WriteToUDPAddrPort(answer, from)
		}
	}
}

// answer returns the answer to a question, nil for none.
func (s *NameServer) answer(packet []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var asked dnsmessage.Parser
	header, err := asked.Start(packet)
	if err != nil || s.mute {
		return nil
	}
	q, err := asked.Question()
	if err != nil {
		return nil
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: header.ID, Response: true, RecursionDesired: header.RecursionDesired, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	addresses, known := s.hosts[strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))]
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addresses {
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

// AskNameServers makes a node ask these name servers, in this order.
func (n *Node) AskNameServers(servers ...netip.Addr) error {
	var b strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %v\n", s)
	}
	return n.WriteFile("/etc/resolv.conf", b.String(), 0o644)
}
