package e2e_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"
)

// Where things are on hosts that have an environment of LinK.
const (
	linkPath  = "/usr/lib/link/link" // a link to berth, outside of PATH
	linkLease = 4 * time.Second      // five times the keepalive interval of the hosts
)

// linkField is hosts with berth, called link, on one segment with an etcd.
type linkField struct {
	*segment
	hosts []*linkHost
	wire  *wire
}

// linkHost is a host, with one berth at a time, and a client of its API.
type linkHost struct {
	*testnet.Node
	field       *linkField
	berth       *testnet.Process
	environment []string // beside that of all hosts
	address     netip.Addr
	client      *http.Client
}

// newLinkField makes a field that ends with the test. etcd starts with it.
func newLinkField(t *testing.T, o etcdtest.Options, names ...string) *linkField {
	t.Helper()
	f := &linkField{segment: newSegment(t)}
	for i, name := range names {
		n := f.attach(name, 11+i)
		f.called(n, linkPath)
		f.hosts = append(f.hosts, &linkHost{Node: n, field: f, address: netip.AddrFrom4([4]byte{10, 78, 0, byte(11 + i)}), client: clientIn(n)})
	}
	f.listen()
	f.begin(o)
	return f
}

// clientIn returns a client whose connections begin on a node.
func clientIn(n *testnet.Node) *http.Client {
	return &http.Client{Timeout: waitLimit, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = n.Do(func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return c, err
	}}}
}

// launch starts berth with these variables beside those of all hosts. The environment has
// nothing else, as that of a service.
func (h *linkHost) launch(variables ...string) {
	h.field.t.Helper()
	h.environment = variables
	args := append([]string{"-i", "PATH=/usr/bin:/bin", "INTERFACE=" + lab.Link, "ETCD_HOSTS=" + h.field.endpoint(), "KEEPALIVE_INTERVAL=800ms"}, variables...)
	var err error
	h.berth, err = h.Start("link", "/usr/bin/env", append(args, linkPath)...)
	h.field.must(err)
	h.field.Record(h.berth.Log)
}

// start is launch, and the wait until the API answers.
func (h *linkHost) start(variables ...string) {
	h.field.t.Helper()
	h.launch(variables...)
	h.says(`"code": "api-served"`, time.Time{})
}

// variable returns the value of a variable with which berth was started.
func (h *linkHost) variable(name string) (value string) {
	for _, v := range h.environment {
		if n, is, _ := strings.Cut(v, "="); n == name {
			value = is
		}
	}
	return value
}

// says waits until berth has written a text into its log after a moment.
func (h *linkHost) says(text string, since time.Time) {
	h.field.t.Helper()
	h.field.until(fmt.Sprintf("%s to say %q", h.Name, text), func() bool {
		_, ok := h.berth.Log.Find(since, contains(text))
		return ok
	})
}

// ended waits until berth has ended, and returns its exit status.
func (h *linkHost) ended() int {
	h.field.t.Helper()
	h.field.until(h.Name+" to end", func() bool { return !h.berth.Exited().IsZero() })
	return h.berth.ExitCode()
}

// request sends what LinK's client sends, which has no type of content, from a node.
func (h *linkHost) request(from *http.Client, at netip.Addr, user, password, method, path, body string) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(h.field.t.Context(), waitLimit)
	defer cancel()
	port := cmp.Or(h.variable("PORT"), "1313")
	r, err := http.NewRequestWithContext(ctx, method, "http://"+net.JoinHostPort(at.String(), port)+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if user != "" || password != "" {
		r.SetBasicAuth(user, password)
	}
	resp, err := from.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// call sends a request from the host itself, with its user and password.
func (h *linkHost) call(method, path, body string) (status int, answer string) {
	h.field.t.Helper()
	user, password := h.variable("USER"), h.variable("PASSWORD")
	if password == "" {
		user = ""
	}
	status, answer, err := h.request(h.client, netip.AddrFrom4([4]byte{127, 0, 0, 1}), user, password, method, path, body)
	h.field.must(err)
	return status, answer
}

// wants sends a request, and fails the test if the status is another one.
func (h *linkHost) wants(want int, method, path, body string) (answer string) {
	h.field.t.Helper()
	status, answer := h.call(method, path, body)
	if status != want {
		h.field.t.Errorf("%s %s %s at %s: want status %d, got %d: %s", method, path, body, h.Name, want, status, answer)
	}
	return answer
}

// linkIP is the object of LinK's API, of versions 1 and 2, as its clients read it.
type linkIP struct {
	ID     string `json:"id"`
	IP     string `json:"ip"`
	Status string `json:"status"`
	Checks []struct {
		Type, Host string
		Port       int
	} `json:"checks"`
	Keepalive   int `json:"keepalive_interval"`
	Healthcheck int `json:"healthcheck_interval"`
	LastEvent   struct{ Event string }
}

// decode reads a body as a client does.
func decode[T any](f *segment, body string) (v T) {
	f.t.Helper()
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		f.t.Fatalf("%v in %s", err, body)
	}
	return v
}

// id returns the id of an address.
func id(a netip.Addr) string { return "vip-" + a.String() }

// add adds an address to the list of a host.
func (h *linkHost) add(a netip.Addr) {
	h.field.t.Helper()
	h.wants(http.StatusCreated, http.MethodPost, "/ips", fmt.Sprintf(`{"ip": %q}`, a))
}

// state returns the status of an address on a host, empty if the host does not have it in
// its list.
func (h *linkHost) state(a netip.Addr) string {
	h.field.t.Helper()
	status, answer := h.call(http.MethodGet, "/ips/"+id(a), "")
	if status != http.StatusOK {
		return ""
	}
	return decode[struct{ IP linkIP }](h.field.segment, answer).IP.Status
}

// becomes waits until the address has a status on a host.
func (h *linkHost) becomes(state string, a netip.Addr) {
	h.field.t.Helper()
	h.field.until(fmt.Sprintf("%v to be %s on %s", a, state, h.Name), func() bool { return h.state(a) == state })
}

// happened reports whether an event has happened on a host, as its metrics count.
func (h *linkHost) happened(event string) bool {
	h.field.t.Helper()
	text := h.wants(http.StatusOK, http.MethodGet, "/metrics", "")
	for line := range strings.Lines(text) {
		if value, is := strings.CutPrefix(strings.TrimSpace(line), fmt.Sprintf("berth_ip_events_total{event=%q} ", event)); is {
			n, err := strconv.ParseFloat(value, 64)
			return err == nil && n > 0
		}
	}
	h.field.t.Errorf("want a count of the event %q at %s", event, h.Name)
	return false
}

// has reports whether a host has an address on its interface.
func (c *segment) has(n *testnet.Node, a netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.owners[a], n.Name)
}

// owns waits until an address is on these hosts and on no others.
func (f *linkField) owns(a netip.Addr, hosts ...*linkHost) {
	f.t.Helper()
	var want []string
	for _, h := range hosts {
		want = append(want, h.Name)
	}
	slices.Sort(want)
	f.until(fmt.Sprintf("%v to be on %v", a, want), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Equal(slices.Sorted(slices.Values(f.owners[a])), want)
	})
}

// owner waits until an address is on one of the hosts, and returns that.
func (f *linkField) owner(a netip.Addr) (owner *linkHost) {
	f.t.Helper()
	f.until(fmt.Sprintf("%v to have an owner", a), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, h := range f.hosts {
			if slices.Equal(f.owners[a], []string{h.Name}) {
				owner = h
			}
		}
		return owner != nil
	})
	return owner
}

// settled waits until one of two hosts has an address and the other waits for it, and returns
// the first. While etcd comes back, the only host that has an address can be one that has
// claimed it.
func (f *linkField) settled(a netip.Addr, hosts ...*linkHost) (owner *linkHost) {
	f.t.Helper()
	f.until(fmt.Sprintf("%v to have one owner by election", a), func() bool {
		for i, h := range hosts {
			if h.state(a) == "ACTIVATED" && hosts[1-i].state(a) == "STANDBY" && f.has(h.Node, a) && !f.has(hosts[1-i].Node, a) {
				owner = h
				return true
			}
		}
		return false
	})
	return owner
}

// steps returns how parts of a test follow each other, each with its name. After each, no
// two hosts may have had an address at once.
func (f *linkField) steps(t *testing.T) func(name string, body func(t *testing.T)) {
	return func(name string, body func(t *testing.T)) {
		if t.Failed() {
			return // what follows needs the state that this should have left
		}
		t.Run(name, func(t *testing.T) {
			outer := f.t
			f.t = t
			defer func() { f.t = outer }()
			body(t)
			f.once()
		})
	}
}

// wire has the announcements of addresses that were heard on the segment.
type wire struct {
	mu   sync.Mutex
	seen []heard // guarded by mu
}

// heard is an announcement: a gratuitous ARP request or reply (RFC 5227, section 3), or a
// neighbour advertisement to all nodes (RFC 4861, section 7.2.6).
type heard struct {
	at      time.Time
	kind    string
	address netip.Addr
	from    string // hardware address
}

// parseHeard reads an Ethernet frame.
func parseHeard(b []byte) (h heard, ok bool) {
	if len(b) < 14+28 || b[0]&1 == 0 {
		return h, false
	}
	h.from = net.HardwareAddr(b[6:12]).String()
	switch payload := b[14:]; binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		h.address = netip.AddrFrom4([4]byte(payload[14:18]))
		h.kind = map[byte]string{1: "request", 2: "reply"}[payload[7]]
		return h, string(payload[14:18]) == string(payload[24:28])
	case unix.ETH_P_IPV6:
		if len(payload) < 64 || payload[6] != unix.IPPROTO_ICMPV6 || payload[40] != 136 {
			return h, false
		}
		h.kind, h.address = "advertisement", netip.AddrFrom16([16]byte(payload[48:64]))
		return h, payload[44]&0x20 != 0 // override
	}
	return h, false
}

// listen begins to hear the announcements on the segment.
func (f *linkField) listen() {
	f.t.Helper()
	f.wire = &wire{}
	var socket *os.File
	f.must(f.router.Do(func() error {
		ifi, err := net.InterfaceByName("br0")
		if err != nil {
			return err
		}
		all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)) // in network order, packet(7)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
		if err != nil {
			return err
		}
		socket = os.NewFile(uintptr(fd), "br0")
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifi.Index})
	}))
	var reading sync.WaitGroup
	reading.Go(func() {
		frame := make([]byte, 2048)
		for {
			n, err := socket.Read(frame)
			if err != nil {
				return // closed
			}
			if h, ok := parseHeard(frame[:n]); ok {
				h.at = time.Now()
				f.wire.mu.Lock()
				f.wire.seen = append(f.wire.seen, h)
				f.wire.mu.Unlock()
				f.Bell().Ring()
			}
		}
	})
	f.OnClose(func() error {
		err := socket.Close()
		reading.Wait()
		return err
	})
}

// hears waits until a host has announced an address after a moment, in each of these ways.
func (f *linkField) hears(h *linkHost, a netip.Addr, since time.Time, kinds ...string) {
	f.t.Helper()
	var mac string
	f.must(h.Do(func() error {
		ifi, err := net.InterfaceByName(lab.Link)
		if err == nil {
			mac = ifi.HardwareAddr.String()
		}
		return err
	}))
	f.until(fmt.Sprintf("%s to announce %v by %v", h.Name, a, kinds), func() bool {
		f.wire.mu.Lock()
		defer f.wire.mu.Unlock()
		return !slices.ContainsFunc(kinds, func(kind string) bool {
			return !slices.ContainsFunc(f.wire.seen, func(s heard) bool {
				return s.kind == kind && s.address == a && s.from == mac && s.at.After(since)
			})
		})
	})
}
